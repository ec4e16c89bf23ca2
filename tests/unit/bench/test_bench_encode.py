"""`lendsignal bench encode` tells what each destination's own code costs."""

import json

from click.testing import CliRunner

from lendsignal.cli import main as command
from lendsignal.destination import registry


def test_every_destination_has_its_microseconds_as_json_and_as_a_table_cheapest_first() -> None:
    told = json.loads(CliRunner().invoke(command, ["bench", "encode", "--json"]).output)
    table = CliRunner().invoke(command, ["bench", "encode"]).output.splitlines()[1:]
    costs = [float(line.split()[-1]) for line in table if line.strip()]

    assert told.keys() == registry().keys()
    assert all(0 < cost < 1_000 for cost in told.values())
    assert len(costs) == len(told)
    assert costs == sorted(costs)
