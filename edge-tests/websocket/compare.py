"""Compares what the suite found of two servers, case by case: compare.py INDEX CASES_MIN ONE OTHER"""

import collections
import json
import sys

index, least, one, other = sys.argv[1:]
with open(index) as file:
    reports = json.load(file)
results = [
    {case: (found["behavior"], found["behaviorClose"]) for case, found in reports[name].items()} for name in (one, other)
]
for name, found in zip((one, other), results):
    counts = collections.Counter(f"{behavior}, close {close}" for behavior, close in found.values())
    print(f"{name}: {len(found)} cases")
    for outcome, count in counts.most_common():
        print(f"  {count:4} {outcome}")
cases = sorted(results[0].keys() | results[1].keys(), key=lambda case: [int(part) for part in case.split(".")])
different = [case for case in cases if results[0].get(case) != results[1].get(case)]
for case in different:
    print(f"{case}: {one} {results[0].get(case)}, {other} {results[1].get(case)}")
print(f"{len(cases)} cases, {len(different)} differences")
sys.exit(bool(different) or len(cases) < int(least))
