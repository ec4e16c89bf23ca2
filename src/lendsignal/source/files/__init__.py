"""Files of a lender's own making → events: rows, the map that reads them, the dry run and the import."""

from lendsignal.source.files.events import Made, Progress, entry_rules, events_of_row, inputs_of_files, judged
from lendsignal.source.files.importing import Imported, import_files
from lendsignal.source.files.map import ImportMap, map_hash, map_of, read_map
from lendsignal.source.files.oddity import MEANING, REFUSED, Kind, Oddity
from lendsignal.source.files.survey import Survey, survey

__all__ = [
    "MEANING",
    "REFUSED",
    "ImportMap",
    "Imported",
    "Kind",
    "Made",
    "Oddity",
    "Progress",
    "Survey",
    "entry_rules",
    "events_of_row",
    "import_files",
    "inputs_of_files",
    "judged",
    "map_hash",
    "map_of",
    "read_map",
    "survey",
]
