#!/bin/bash
# Run the tests that $1 selects (a pytest marker expression, empty for all): first those without guests, four at a time, since most of them wait, then
# the guests, one after the other, because each starts as many PCs as two cores bear, then the appliance's image in its lab. Ends with one line for all.
set -u
select=$1
and=${select:+ and $select}
status=0
pytest -n 4 -m "not guest and not appliance$and" --junitxml=build/check.xml || status=1
pytest -m "guest$and" --junitxml=build/guests.xml || status=1
pytest -m "appliance$and" -s --junitxml=build/appliance.xml || status=1
python - build/check.xml build/guests.xml build/appliance.xml <<'PYTHON'
import sys
from xml.etree import ElementTree

counts = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
for path in sys.argv[1:]:
    for suite in ElementTree.parse(path).iter("testsuite"):
        for name in counts:
            counts[name] += int(suite.get(name, 0))
failed = counts["failures"] + counts["errors"]
print(f"{counts['tests'] - failed - counts['skipped']} passed, {failed} failed, {counts['skipped']} skipped")
PYTHON
exit $status
