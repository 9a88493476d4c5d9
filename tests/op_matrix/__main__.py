"""Write the golden anew: `python -m tests.op_matrix`, and look at the difference."""

import sys

from tests.op_matrix.chain import CASES, run_case
from tests.op_matrix.test_op_matrix import GOLDEN


def main() -> int:
    outcomes = {name: run_case(example) for name, example in sorted(CASES.items())}
    for name, outcome in outcomes.items():
        if outcome.status != "converts":
            print(f"{outcome.status}: {name}: {outcome.reason}")
    wrong = [name for name, outcome in outcomes.items() if outcome.status == "wrong"]
    converts = [name for name, outcome in outcomes.items() if outcome.status == "converts"]
    if not wrong:
        title = f"# {len(converts)} of {len(CASES)} cases convert and agree with TensorFlow:"
        GOLDEN.write_text("\n".join([title, *converts]) + "\n")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
