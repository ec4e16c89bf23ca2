"""The pages, one file each: a file with a `PAGE` here is a page of the console."""
