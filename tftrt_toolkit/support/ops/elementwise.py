"""Arithmetic and functions, element by element."""

from __future__ import annotations

from tftrt_toolkit.artifacts import Refusal
from tftrt_toolkit.support.dtypes import FLOATS, INTS, NUMBERS
from tftrt_toolkit.support.registry import Family
from tftrt_toolkit.support.view import NodeView

elementwise = Family("Elementwise arithmetic")

elementwise.add(
    *"Acos Acosh Asin Asinh Atan Atan2 Atanh Ceil Cos Cosh DivNoNan Elu Erf Erfc Exp Expm1 Floor "
    "LeakyRelu Log Log1p MulNoNan Pow RealDiv Reciprocal Relu Rint Round Rsqrt Selu Sigmoid Sin "
    "Sinh Softplus Softsign Sqrt Tan Tanh Xdivy Xlog1py Xlogy".split(),
    T=FLOATS,
)
elementwise.add(
    *"Abs Add AddV2 BiasAdd BiasAddV1 ClipByValue Div FloorDiv FloorMod Maximum Minimum Mul Neg "
    "Relu6 Sign Square SquaredDifference Sub TruncateDiv TruncateMod".split(),
    T=NUMBERS,
)


@elementwise.check("AddN", T=FLOATS)
def add_n(node: NodeView) -> Refusal | None:
    """Its terms have one known rank."""
    if len({node.rank(index) for index in range(len(node.inputs))}) == 1:
        return None
    return Refusal("rank", "AddN's terms have several ranks")


elementwise.add("InvertPermutation", T=INTS)
