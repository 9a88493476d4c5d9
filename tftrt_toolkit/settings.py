"""All that a conversion was asked for, resolved once and checked."""

from __future__ import annotations

import dataclasses

from tftrt_toolkit.errors import InvalidArgumentError
from tftrt_toolkit.params import (
    Environment,
    ToolkitOptions,
    TrtConversionParams,
    check_params,
    resolve_strategy,
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """The stock parameters, this toolkit's options, and what the environment adds.

    precision: in upper case. strategy: in its usual spelling. max_engines: 0 means no limit.
    """

    params: TrtConversionParams
    options: ToolkitOptions
    environment: Environment
    dynamic_shape: bool
    strategy: str

    @classmethod
    def resolve(
        cls,
        params: TrtConversionParams,
        options: ToolkitOptions,
        use_dynamic_shape: bool | None,
        strategy: str | None,
    ) -> Settings:
        """Check and normalise; raises InvalidArgumentError."""
        check_params(params)
        if options.typed_fallback and params.precision_mode.upper() == "INT4":
            raise InvalidArgumentError("typed_fallback knows no INT4 weights: leave it out")
        return cls(
            params=params._replace(precision_mode=params.precision_mode.upper()),
            options=options,
            environment=Environment.read(),
            dynamic_shape=bool(use_dynamic_shape),
            strategy=resolve_strategy(strategy),
        )

    @property
    def precision(self) -> str:
        """The precision mode, in upper case."""
        return self.params.precision_mode

    @property
    def max_engines(self) -> int:
        """The most engines of a graph; 0: no limit."""
        asked = self.options.max_engines
        return self.environment.max_engines if asked is None else max(asked, 0)

    @property
    def needs_calibration(self) -> bool:
        """Whether the precision's ranges come from data that the user gives."""
        return self.precision in ("INT8", "FP8") and self.params.use_calibration

    @property
    def takes_calibration(self) -> bool:
        """Whether data can help: in FP16 they tell which nodes would overflow."""
        return self.precision != "FP32" and self.params.use_calibration
