# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What `tosa-rescale-compile` is asked to do to a model before iree-compile sees it: from flags and a configuration file."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from tosa_rescale.core.arguments import in_flags
from tosa_rescale.core.display import count
from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import (
    CalibrationOptions,
    CompensateOptions,
    LowerOptions,
    NarrowOptions,
    Options,
    ShiftRounding,
    about_of,
)
from tosa_rescale.core.options import describe as describe_options
from tosa_rescale.core.parsing import About, parse_bits, parse_boolean
from tosa_rescale.core.program import Program
from tosa_rescale.core.rescales import describe_rescales
from tosa_rescale.core.version import versions
from tosa_rescale.rewrite.lower import lower
from tosa_rescale.rewrite.narrow import narrow, with_bits

PREFIX = "tosa-rescale-"
LOWER_PREFIX = "lower-"
COMPENSATING: tuple[type[Options], ...] = (CompensateOptions, CalibrationOptions)
"""What may be asked of a compensation; of a narrowing: NarrowOptions."""

REPORT_SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class OpRule:
    """A width for the rescales whose name or key (`rescale3`) matches a shell pattern."""

    pattern: str
    bits: int


@dataclasses.dataclass(frozen=True)
class Setting:
    """One option of the rewriting, as flag `--tosa-rescale-<name>` and as key of a configuration.

    Attributes:
        name: with dashes.
        field: of the dataclass that declares it.
        kind: of its value.
        narrows, compensates: a narrowing takes it, a compensation does.
        default: where nothing is asked; dataclasses.MISSING: there is none.
    """

    name: str
    field: dataclasses.Field[Any]
    kind: type
    narrows: bool
    compensates: bool
    default: Any

    @property
    def about(self) -> About:
        """What is known of it."""
        return about_of(self.field)


def _settings() -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for kind in (NarrowOptions, *COMPENSATING):
        for name, (field, value, _) in describe_options(kind).items():
            if about_of(field).only_in_python:
                continue
            compensates = any(name in describe_options(each) for each in COMPENSATING)
            spelled = name.replace("_", "-")
            narrows = name in describe_options(NarrowOptions)
            found.setdefault(spelled, Setting(spelled, field, value, narrows, compensates, field.default))
    return found


def _lower_settings() -> dict[str, Setting]:
    """What may be asked of a lowering; iree-compile has no rounding shift, so half is added where nothing else is asked."""
    found: dict[str, Setting] = {}
    for name, (field, value, _) in describe_options(LowerOptions).items():
        spelled = f"{LOWER_PREFIX}{name.replace('_', '-')}"
        default = ShiftRounding.BIAS if value is ShiftRounding else field.default
        found[spelled] = Setting(spelled, field, value, False, False, default)
    return found


SETTINGS = _settings()
"""Every option of NarrowOptions, CompensateOptions and CalibrationOptions, by name."""

LOWER_SETTINGS = _lower_settings()
"""Every option of LowerOptions, by name with the prefix `lower-`."""

KEYS = (*SETTINGS, "compensate", "calibration", "ops", "lower", *LOWER_SETTINGS)
"""Keys of a configuration."""


def _flag(name: str, value: str | None) -> str | None:
    """The flag, without its prefix, of what a message names as an argument of Python; None where it is none of ours."""
    key = name.replace("_", "-")
    return f"--{key} {value or ''}".rstrip() if key in KEYS else None


@dataclasses.dataclass(frozen=True)
class CompileSettings:
    """The rewriting in front of a compilation.

    Attributes:
        step: what is asked of the narrowing or of the compensation; None: the model stays as it is.
        plan: how samples for a compensation are taken.
        calibration: an image folder or .npz, `synthetic`, or `none`; for compensation. None: synthetic.
        ops: widths of single rescales; of the rules that match one, the last holds.
        lowering: what is asked of the lowering at the end; None: rescales stay.
    """

    step: NarrowOptions | CompensateOptions | None = None
    plan: CalibrationOptions = dataclasses.field(default_factory=CalibrationOptions)
    calibration: str | None = None
    ops: tuple[OpRule, ...] = ()
    lowering: LowerOptions | None = None

    @staticmethod
    def from_flags(flags: Mapping[str, str]) -> CompileSettings:
        """Reads flags, and the configuration file where `config` names one; a flag overrides the file.

        Args:
            flags: values by name without `--tosa-rescale-`; others than those of the settings are not looked at.

        Raises:
            OptionError: a value is out of range, contradicts another, or the file cannot be used.
        """
        values: dict[str, Any] = _read_config(pathlib.Path(flags["config"])) if "config" in flags else {}
        values.update({key: value for key, value in flags.items() if key in KEYS})
        try:
            compensates = parse_boolean(values.pop("compensate", "false"), "compensate")
            lowering = _take_lowering(values)
            _require_effect(values, compensates)
            if "bits" not in values:
                return CompileSettings(lowering=lowering)
            return CompileSettings(
                _made(CompensateOptions if compensates else NarrowOptions, values),
                _made(CalibrationOptions, values),
                values.get("calibration"),
                values.get("ops", ()),
                lowering,
            )
        except OptionError as error:
            # The dataclasses speak of options; here they are flags with a prefix.
            raise OptionError(PREFIX + in_flags(str(error), _flag).replace("--", f"--{PREFIX}")) from None

    @property
    def rewrites(self) -> bool:
        """Anything is asked for."""
        return self.step is not None or self.lowering is not None

    def apply(self, model: Program) -> Program:
        """The model as asked for; the same one where nothing is.

        Raises:
            OptionError: a pattern matches no rescale, or options contradict each other.
            DataError: calibration data that cannot be used.
            ModelError: the model has no rescale.
            PassError: a pass refused the module.
        """
        rewritten = self._narrowed(model)
        if self.lowering is None:
            return rewritten
        lowered = lower(rewritten, self.lowering)
        return dataclasses.replace(lowered, remarks=(*rewritten.remarks, *lowered.remarks))

    def _narrowed(self, model: Program) -> Program:
        if self.step is None:
            return model
        bits_of = self._bits_of(model)
        if isinstance(self.step, CompensateOptions):
            from tosa_rescale.data.source import CalibrationPlan
            from tosa_rescale.rewrite.compensate import compensate

            plan = CalibrationPlan(**self.plan.as_dict(), source=self._calibration_source())
            return compensate(model, self.step, plan, bits_of=bits_of)
        return narrow(with_bits(model, bits_of) if bits_of else model, self.step)

    def calibration_files(self) -> list[pathlib.Path]:
        """The files that calibration reads, for a dependency file."""
        if self.calibration is None or self.calibration in ("synthetic", "none"):
            return []
        path = pathlib.Path(self.calibration)
        return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        step = {} if self.step is None else self.step.as_dict()
        compensates = isinstance(self.step, CompensateOptions)
        sampled = {**self.plan.as_dict(), "calibration": self.calibration or "synthetic"} if compensates else {}
        ops = [dataclasses.asdict(rule) for rule in self.ops]
        lowering = None if self.lowering is None else self.lowering.as_dict()
        return {"bits": None, **step, "compensate": compensates, **sampled, "ops": ops, "lower": lowering}

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
                    f"tosa-rescale-config: pattern {rule.pattern!r} matches none of the"
                    f" {count(len(named), 'rescale')} of {model.source} ({examples}, ...);"
                    " `tosa-rescale info` lists their names"
                )
            bits_of.update(dict.fromkeys(matched, rule.bits))
        return bits_of


def describe(model: Program, rewritten: Program, settings: CompileSettings) -> dict[str, Any]:
    """The report: what was asked for, and every rescale before and after.

    Returns:
        `schema` (1), `input`, `settings`, `versions`, `recipe`, `remarks` (where, text) and `rescales`, each with name, op,
        scope, channels, `before` and `after` (bits, shift_min, shift_max, scale32, rounding_mode, lowered), and `violations`
        after.
    """
    rescales = []
    for old, new in zip(describe_rescales(model), describe_rescales(rewritten), strict=True):
        kept = ("bits", "shift_min", "shift_max", "scale32", "rounding_mode", "lowered")
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
        raise OptionError(f"{path}: needs a mapping with some of the keys {', '.join(KEYS)}")
    config = {str(key).replace("_", "-"): value for key, value in read.items()}
    for key in config:
        if key not in KEYS:
            raise OptionError(f"{path}: unknown key {key!r}; use some of {', '.join(KEYS)}")
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


def _made(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """An options class of the values that are its fields."""
    names = {name.replace("_", "-"): name for name in describe_options(kind)}
    return kind(**{names[key]: value for key, value in values.items() if key in names})


def _take_lowering(values: dict[str, Any]) -> LowerOptions | None:
    """Takes what concerns the lowering out of the values. Raises OptionError where it has no effect."""
    lowers = parse_boolean(values.pop("lower", "false"), "lower")
    given = {name: values.pop(name) for name in LOWER_SETTINGS if name in values}
    if given and not lowers:
        raise OptionError(f"{next(iter(given))}: has no effect without --lower; pass that too")
    if not lowers:
        return None
    asked = {name: given.get(name, setting.default) for name, setting in LOWER_SETTINGS.items()}
    try:
        return LowerOptions(**{name.removeprefix(LOWER_PREFIX).replace("-", "_"): value for name, value in asked.items()})
    except OptionError as error:
        raise OptionError(f"{LOWER_PREFIX}{error}") from None


def _require_effect(values: Mapping[str, Any], compensates: bool) -> None:
    """Raises OptionError where something is asked for that nothing would take."""
    for name in values:
        if "bits" not in values:
            raise OptionError(f"{name}: has no effect without a width for all rescales in scope; pass --bits, 1 to 31")
        setting = SETTINGS.get(name)
        if compensates and setting is not None and not setting.compensates:
            raise OptionError(f"{name}: compensation chooses its multipliers itself; leave it out, or leave --compensate out")
        if not compensates and (name == "calibration" or (setting is not None and not setting.narrows)):
            raise OptionError(f"{name}: has no effect without --compensate; pass that too")
    if compensates and "bits" not in values:
        raise OptionError("compensate: has no effect without a width for all rescales in scope; pass --bits, 1 to 31")


def to_json(report: Mapping[str, Any]) -> str:
    """The report as it is written to a file."""
    return json.dumps(report, indent=2) + "\n"
