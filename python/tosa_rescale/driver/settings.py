# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What `tosa-rescale-compile` is asked to do to a model before iree-compile sees it: from flags and a configuration file."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import (
    CompensateOptions,
    Encoding,
    MultiplierRounding,
    NarrowOptions,
    Scope,
    parse_bits,
    parse_enum,
)
from tosa_rescale.core.program import Program
from tosa_rescale.core.rescales import describe_rescales
from tosa_rescale.core.version import versions
from tosa_rescale.rewrite.narrow import narrow, with_bits

_KEYS = ("bits", "multiplier-rounding", "scope", "encoding", "compensate", "calibration", "ops")
REPORT_SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class OpRule:
    """A width for the rescales whose name or key (`rescale3`) matches a shell pattern."""

    pattern: str
    bits: int


@dataclasses.dataclass(frozen=True)
class CompileSettings:
    """The rewriting in front of a compilation.

    Attributes:
        bits: significant bits of the multipliers, 1..31; None: the model stays as it is.
        multiplier_rounding: how a multiplier loses bits; None: nearest. Compensation has its own rule.
        scope: which rescales are narrowed.
        encoding: how a multiplier stands in the op.
        compensate: weights and biases absorb the error.
        calibration: an image folder or .npz, `synthetic`, or `none`; for compensation. None: synthetic.
        ops: widths of single rescales; of the rules that match one, the last holds.
    """

    bits: int | None = None
    multiplier_rounding: MultiplierRounding | None = None
    scope: Scope | None = None
    encoding: Encoding | None = None
    compensate: bool = False
    calibration: str | None = None
    ops: tuple[OpRule, ...] = ()

    @staticmethod
    def from_flags(flags: Mapping[str, str]) -> CompileSettings:
        """Reads flags, and the configuration file where `config` names one; a flag overrides the file.

        Args:
            flags: values by name without `--tosa-rescale-`; others than those of the settings are not looked at.

        Raises:
            OptionError: a value is out of range, contradicts another, or the file cannot be used.
        """
        values: dict[str, Any] = _read_config(pathlib.Path(flags["config"])) if "config" in flags else {}
        values.update({key: value for key, value in flags.items() if key in _KEYS})
        settings = CompileSettings(
            bits=parse_bits(values["bits"], "tosa-rescale-bits") if "bits" in values else None,
            multiplier_rounding=_member(MultiplierRounding, values, "multiplier-rounding"),
            scope=_member(Scope, values, "scope"),
            encoding=_member(Encoding, values, "encoding"),
            compensate=_boolean(values.get("compensate", "false")),
            calibration=values.get("calibration"),
            ops=values.get("ops", ()),
        )
        settings._require_consistent()
        return settings

    def _require_consistent(self) -> None:
        if self.bits is None:
            for name in ("ops", "compensate", "multiplier_rounding", "scope", "encoding", "calibration"):
                if getattr(self, name):
                    raise OptionError(
                        f"tosa-rescale-{name.replace('_', '-')}: has no effect without a width for all rescales in scope;"
                        " pass --tosa-rescale-bits, 1 to 31"
                    )
        if self.compensate and self.multiplier_rounding is not None:
            raise OptionError(
                "tosa-rescale-multiplier-rounding: compensation chooses its multipliers itself;"
                " leave it out, or leave --tosa-rescale-compensate out"
            )
        if self.calibration is not None and not self.compensate:
            raise OptionError("tosa-rescale-calibration: has no effect without --tosa-rescale-compensate; pass that too")

    def apply(self, model: Program) -> Program:
        """The model as asked for; the same one where nothing is.

        Raises:
            OptionError: a pattern matches no rescale, or options contradict each other.
            DataError: calibration data that cannot be used.
            ModelError: the model has no rescale.
            PassError: a pass refused the module.
        """
        if self.bits is None:
            return model
        options: dict[str, Any] = {"scope": self.scope or Scope.ACCUMULATOR, "encoding": self.encoding or Encoding.ALIGNED}
        bits_of = self._bits_of(model)
        if self.compensate:
            from tosa_rescale.data.source import CalibrationPlan
            from tosa_rescale.rewrite.compensate import compensate

            plan = CalibrationPlan(source=self._calibration_source())
            return compensate(model, CompensateOptions(self.bits, **options), plan, bits_of=bits_of)
        if bits_of:
            model = with_bits(model, bits_of)
        return narrow(model, NarrowOptions(self.bits, multiplier_rounding=self.multiplier_rounding, **options))

    def calibration_files(self) -> list[pathlib.Path]:
        """The files that calibration reads, for a dependency file."""
        if self.calibration is None or self.calibration in ("synthetic", "none"):
            return []
        path = pathlib.Path(self.calibration)
        return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)

    def _calibration_source(self) -> Any:
        if self.calibration in (None, "synthetic", "none"):
            return self.calibration or "synthetic"
        from tosa_rescale.data.dataset import load_data

        return load_data(self.calibration)

    def _bits_of(self, model: Program) -> dict[str, int]:
        if not self.ops:
            return {}
        from tosa_rescale_runtime import Module

        named = [(op.key, op.name) for op in Module.parse(model.bytecode, model.source).ops() if op.kind == "rescale"]
        bits_of: dict[str, int] = {}
        for rule in self.ops:
            matched = [key for key, name in named if any(fnmatch.fnmatchcase(each, rule.pattern) for each in (key, name))]
            if not matched:
                examples = ", ".join(name for _, name in named[:3]) or "none"
                raise OptionError(
                    f"tosa-rescale-config: pattern {rule.pattern!r} matches none of the {len(named)} rescales of {model.source}"
                    f" ({examples}, ...); `tosa-rescale info` lists their names"
                )
            bits_of.update(dict.fromkeys(matched, rule.bits))
        return bits_of


def describe(model: Program, rewritten: Program, settings: CompileSettings) -> dict[str, Any]:
    """The report: what was asked for, and every rescale before and after.

    Returns:
        `schema` (1), `input`, `settings`, `versions`, `recipe`, `remarks` (where, text) and `rescales`, each with name, op,
        scope, channels, `before` and `after` (bits, shift_min, shift_max, scale32, rounding_mode), and `violations` after.
    """
    rescales = []
    for old, new in zip(describe_rescales(model), describe_rescales(rewritten), strict=True):
        kept = ("bits", "shift_min", "shift_max", "scale32", "rounding_mode")
        before, after = ({key: each.as_dict()[key] for key in kept} for each in (old, new))
        named = {"name": new.name, "op": new.op, "scope": new.scope, "channels": new.channels}
        rescales.append({**named, "before": before, "after": after, "violations": list(new.violations)})
    return {
        "schema": REPORT_SCHEMA,
        "input": model.source,
        "settings": settings.as_dict(),
        "versions": versions(),
        "recipe": [dataclasses.asdict(step) for step in rewritten.recipe],
        "remarks": [{"where": each.where, "text": each.text} for each in rewritten.remarks],
        "rescales": rescales,
    }


def _read_config(path: pathlib.Path) -> dict[str, Any]:
    import yaml

    try:
        # YAML contains JSON. The safe loader makes plain values only: a file must not be able to run code.
        read = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise OptionError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise OptionError(f"{path}: is neither YAML nor JSON: {' '.join(str(error).split())}") from None
    if not isinstance(read, dict):
        raise OptionError(f"{path}: needs a mapping with some of the keys {', '.join(_KEYS)}")
    config = {str(key).replace("_", "-"): value for key, value in read.items()}
    for key in config:
        if key not in _KEYS:
            raise OptionError(f"{path}: unknown key {key!r}; use some of {', '.join(_KEYS)}")
    rules = config.pop("ops", None)
    values: dict[str, Any] = {key: str(value) for key, value in config.items()}
    if rules is not None:
        if not isinstance(rules, list):
            raise OptionError(f"{path}: `ops` needs a list of `pattern` and `bits`")
        values["ops"] = tuple(_read_rule(path, index, rule) for index, rule in enumerate(rules))
    return values


def _read_rule(path: pathlib.Path, index: int, rule: Any) -> OpRule:
    if not isinstance(rule, dict) or set(rule) != {"pattern", "bits"} or not isinstance(rule["pattern"], str):
        raise OptionError(f"{path}: ops[{index}] needs the keys `pattern` (a text) and `bits`, and no other")
    return OpRule(rule["pattern"], parse_bits(str(rule["bits"]), f"{path}: ops[{index}].bits"))


def _member(kind: Any, values: Mapping[str, Any], name: str) -> Any:
    return parse_enum(kind, values[name], f"tosa-rescale-{name}") if name in values else None


def _boolean(value: str) -> bool:
    known = {"true": True, "1": True, "": True, "false": False, "0": False}
    if value.lower() not in known:
        raise OptionError(f"tosa-rescale-compensate: {value!r} is not one of true, false")
    return known[value.lower()]


def to_json(report: Mapping[str, Any]) -> str:
    """The report as it is written to a file."""
    return json.dumps(report, indent=2) + "\n"
