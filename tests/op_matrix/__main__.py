"""Write the golden anew: `python -m tests.op_matrix`, and look at the difference."""

import sys

from tests.op_matrix.chain import CASES, run_case
from tests.op_matrix.golden import GOLDEN, golden_text


def main() -> int:
    outcomes = {name: run_case(example) for name, example in sorted(CASES.items())}
    for name, outcome in outcomes.items():
        if outcome.wrong or not outcome.converts:
            print(f"{'WRONG' if outcome.wrong else 'native'} {name}: {outcome.reason}")
    GOLDEN.write_text(golden_text(outcomes))
    return any(outcome.wrong for outcome in outcomes.values())


if __name__ == "__main__":
    sys.exit(main())
