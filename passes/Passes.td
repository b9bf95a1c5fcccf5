//===- Passes.td - pass declarations -----------------------*- tablegen -*-===//
//
// Names, options and documentation of the passes. docs/passes.md is generated from this file.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_PASSES
#define TOSA_RESCALE_PASSES

include "mlir/Pass/PassBase.td"

//===----------------------------------------------------------------------===//
// Options. What several passes have is declared once. `llvm-tblgen -dump-json` shows of each its name (`argument`), its default (`defaultValue`)
// and, where it is one of several words, these words (`values`), of which the first is the default.
//===----------------------------------------------------------------------===//

/// A member of an enum in C++, its name on the command line, and what it means.
class Choice<string member, string name, string meaning> {
  string symbol = member;
  string word = name;
  string help = meaning;
}

class EnumOption<string varName, string arg, string enum, list<Choice> choices, string desc>
    : Option<varName, arg, "::tosa_rescale::" # enum, "::tosa_rescale::" # enum # "::" # !head(choices).symbol, desc,
             "::llvm::cl::values(" # !interleave(!foreach(each, choices,
               "clEnumValN(::tosa_rescale::" # enum # "::" # each.symbol # ", \"" # each.word # "\", \"" # each.help # "\")"), ", ") # ")"> {
  list<string> values = !foreach(each, choices, each.word);
}

class BitsOption<string desc> : Option<"bits", "bits", "int64_t", /*default=*/"0", desc>;

def NarrowedBitsOption : BitsOption<"Significant bits of a narrowed multiplier, 1 to 31 (required)">;

def ElementwiseBitsOption : Option<"elementwiseBits", "elementwise-bits", "int64_t", /*default=*/"0",
    "With scope=all: bits of the rescales that are not in scope accumulator; 0 means the same as bits">;

def HiddenBitOption : Option<"hiddenBit", "hidden-bit", "bool", /*default=*/"false",
    "Do not count the leading one: bits + 1 significant bits">;

class EncodingOption<string desc> : EnumOption<"encoding", "encoding", "Encoding", [
    Choice<"Aligned", "aligned", "at the top of its type">,
    Choice<"Scale16", "scale16", "compact, in i16">], desc>;

class ScopeOption<string desc> : EnumOption<"scope", "scope", "Scope", [
    Choice<"Accumulator", "accumulator", "rescales of convolutions and matrix products">,
    Choice<"All", "all", "every rescale">], desc>;

class RoundingModeOption<list<Choice> choices>
    : EnumOption<"roundingMode", "rounding-mode", "ResultRounding", choices, "rounding_mode of a narrowed rescale">;

def SingleRound : Choice<"Single", "single", "SINGLE_ROUND">;
def DoubleRound : Choice<"Double", "double", "DOUBLE_ROUND">;
def KeepRound : Choice<"Keep", "keep", "as it is">;

//===----------------------------------------------------------------------===//
// Passes
//===----------------------------------------------------------------------===//

def TosaRescaleNarrowPass : Pass<"tosa-rescale-narrow", "::mlir::func::FuncOp"> {
  let summary = "Narrow the multipliers of tosa.rescale to a few bits";
  let description = [{
    Rounds every multiplier in scope to `bits` significant bits, the leading one included, and adjusts its shift. One bit is
    a pure shift.

    The pass emits only what the TOSA specification allows. A 32-bit multiplier (`scale32 = true`) is defined for
    `-(1 << (shift-1)) <= value < 1 << (shift-1)` alone, so the compact pair `168, 17` would be unpredictable from the value
    65536 on. The `encoding` says which exact form is written instead:

    - `aligned` keeps the multiplier at the top of its type, `168 << 23, 40`, and so the shift and the value range;
    - `scale16` writes `168, 17` as a 16-bit multiplier (`scale32 = false`), which has no limit on the value. It holds at most 15
      bits and has no double rounding. A scale of 2^13 or more, as where an int8 is widened to int32, keeps a 32-bit multiplier in the `aligned`
      form, with a remark.

    In scope `accumulator` are the rescales whose input comes from `conv2d`, `conv3d`, `depthwise_conv2d`, `transpose_conv2d` or `matmul`,
    directly or through `reshape`, `transpose`, `slice`, `identity` and `concat`. The attribute `tosa_rescale.bits` on a rescale
    puts it in scope and overrides `bits` and `elementwise-bits`; `hidden-bit` applies to it too.

    A rescale with a 16-bit multiplier keeps it, so more than 15 bits leave its value as it is. Rescales of i48 are always of this kind.

    New constants are created beside the old ones, which are erased when nothing else uses them. Running the pass again with the same
    options changes nothing. A rescale in scope that cannot be narrowed yields a remark that says why.

    Before:

    ```mlir
    %m = "tosa.const"() <{values = dense<1409286145> : tensor<1xi32>}> : () -> tensor<1xi32>
    %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
    %y = tosa.rescale %acc, %m, %s, %izp, %ozp {rounding_mode = DOUBLE_ROUND, scale32 = true, ...}
    ```

    After `--tosa-rescale-narrow="bits=5"`, 0b10101 at the top of the type:

    ```mlir
    %m = "tosa.const"() <{values = dense<1409286144> : tensor<1xi32>}> : () -> tensor<1xi32>
    %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
    %y = tosa.rescale %acc, %m, %s, %izp, %ozp {rounding_mode = SINGLE_ROUND, scale32 = true, ...}
    ```

    After `--tosa-rescale-narrow="bits=5 encoding=scale16"`:

    ```mlir
    %m = "tosa.const"() <{values = dense<21> : tensor<1xi16>}> : () -> tensor<1xi16>
    %s = "tosa.const"() <{values = dense<14> : tensor<1xi8>}> : () -> tensor<1xi8>
    %y = tosa.rescale %acc, %m, %s, %izp, %ozp {rounding_mode = SINGLE_ROUND, scale32 = false, ...}
    ```
  }];
  let dependentDialects = ["::mlir::tosa::TosaDialect"];
  let options = [
    NarrowedBitsOption,
    ElementwiseBitsOption,
    EnumOption<"multiplierRounding", "multiplier-rounding", "MultiplierRounding", [
      Choice<"Nearest", "nearest", "to the nearest, ties up">,
      Choice<"Up", "up", "never below the original, but for an excess under 2^-22 of it">,
      Choice<"Truncate", "truncate", "cut off">], "How a multiplier loses bits">,
    HiddenBitOption,
    EncodingOption<"Form of a narrowed multiplier">,
    ScopeOption<"Which rescales are narrowed">,
    RoundingModeOption<[SingleRound, DoubleRound, KeepRound]>,
    EnumOption<"preset", "preset", "Preset", [
      Choice<"None", "none", "no preset">,
      Choice<"Paper", "paper", "multiplier-rounding=truncate hidden-bit rounding-mode=single">],
      "A set of options that overrides the single ones">,
  ];
  let statistics = [
    Statistic<"numNarrowed", "num-narrowed", "Number of rescales changed">,
    Statistic<"numLeftAlone", "num-left-alone", "Number of rescales in scope that could not be narrowed">,
  ];
}

def TosaRescaleAlignPass : Pass<"tosa-rescale-align", "::mlir::func::FuncOp"> {
  let summary = "Change the scales of tensors so that the multipliers between them get narrow";
  let description = [{
    The multipliers of an addition, a mean or a product are ratios of the scales of the tensors that meet there. This pass gives each such tensor a new
    scale `S' = S * f`, so that these ratios become multipliers of `bits` bits, with one bit powers of two. What makes and reads the tensor
    makes up for it: a multiplier from tensor a to tensor b becomes `M * f_a / f_b`; a convolution that reads a tensor has its bias divided by f; the bounds of `clamp`
    move in proportion about the zero point and stay within the type; statistics of its input that a convolution has (see `tosa-rescale-compensate`) too. Weights and zero points stay. In real arithmetic the network computes what it did;
    integers differ by rounding, and where f is below 1 by clipping.

    Multipliers behind convolutions with constant weights may become anything: `tosa-rescale-compensate` narrows them afterwards, and the whole network is narrow.

    **Constants** (`constants`, not with `litert`) are weights as well. The rescale of a constant is folded into it, a copy for each use; the copy says by `tosa_rescale.constant_bits` how many bits
    it had. A constant that is added, or joins others by `sub`, `concat`, `maximum`, `minimum` or `select`, is written at their new scale. Where the product with a constant is read by one rescale alone, the constant takes up the ratio of the old multiplier to one of `bits` bits,
    as large as its own bits (16 for a single element) and an i32 product allow.

    **What is released.** Where multipliers contradict each other, two kinds of tensors give up the scale that they keep otherwise, the first before the second, and only if fewer multipliers stay wide then. With `litert`, constants of 8 bits that are added,
    written anew at another scale, and constants that tensors are multiplied with, which take up the multiplier as above; each use gets a constant of its own, with its factor in `tosa_rescale.scale_factor`. And what tables read: one of 513 entries interpolates, so the old
    interpolation is sampled; one of 256 entries is known between its entries if it is monotone, and a monotone cubic through them is sampled. Either is left where the error is above `table-error`, a table that is not monotone always; a remark has the measured error (of 256 entries,
    where entries are left out and interpolated from their neighbours) and the largest possible one. A table with the attribute `tosa_rescale.function` is made anew from the scales by whoever runs the pass, so it moves without either; with `litert` no other one does.

    With `tabulate` two more are released where nothing else helps: the multipliers of a chain that `tosa-rescale-tabulate` makes a table, between constants and inputs of tables, first of chains with a wide multiplier and then of others that meet one; and the results of tables with `tosa_rescale.function`
    that have a `tosa_rescale.fixed_factor`, together with their inputs.

    **Means** (`weighted-means`). The mean of n values is their `reduce_sum`, rescaled by 1/n times a ratio of scales, and is often tied to the values themselves, as where a LayerNorm subtracts it: around that circle multipliers make n, which is narrow only where n is. Where nothing of the above
    helps, means of i8 or i16 on such a circle, or between scales that stay, become convolutions: a `conv2d` of 1x1 to one channel, or a `depthwise_conv2d` where other dimensions follow, with a `transpose` in front where the values of a mean do not lie together. Its n weights of i8 are two neighbouring numbers, the larger ones
    evenly among the others; they add up to the sum W for which the multiplier is a power of two. W lies between 127 * n/2 and 127 * n; around a circle it is a power of two itself, for n = 96 2^13 with 64 weights of 85 and 32 of 86.

    The absolute differences between the weights and W/n add up to at most n/2, so a mean moves by at most 1/254 of the range that its values span: by one step of i8, or by 258 of i16. Where W is no power of two it is rounded, by at most 1/(127 * n) of the mean less its zero point.
    Means stay, and the remark on the wide multiplier says so, where the accumulator would overflow (more than 66052 values of i8), where extents are not known, and where a depthwise window would be longer than 8192. Without the option that remark names it.

    **Saturation** (`saturation`, not with `litert`) is part of what the network computes: a tensor of 8 or 16 bits that gets a larger scale has more room, so a `clamp` cuts it off where it saturated before.

    **Factors.** Tensors connected by `reshape`, `concat`, `pad`, pools, `clamp` and the like share a factor, and so do the operands and the result of `add`. Within a
    group each scale goes to the place on the grid where the tensor's expected squared error is least: that of rounding, f^2 / 12, and that of cutting values off. The latter is read
    from the attribute `tosa_rescale.clipping_errors` of the rescale that makes the tensor, f32 [N], which the pass removes: element i is the mean squared error, in steps of the tensor as
    it is, of saturating at 2^(-i/8) of its range. Without it a scale may shrink by the part `clipping`, so that the outermost values saturate. A group has one free constant, searched over
    an octave for the least sum of errors, with those of the groups that take their factors from products of its tensors. f of a product of two tensors is that of one times that of the other. With more than 8 bits no factor is needed.
    Where a multiplier would stay wide and rounding it moves no result by more than 1/16 of a step, it is rounded; not with `litert`, as LiteRT derives multipliers from scales.

    Where a multiplier would stay wide with several bits, as multipliers around a circle do not multiply to one of so few, those that it depends on become powers of two, as far as that leaves fewer wide.
    Without measurements no scale of 16 bits shrinks. Errors of a tensor that multiplies n others for each of its elements, as 1/sigma of a LayerNorm, directly or through sums, tables and constants, count n times, and so do those of squares and other
    results that are never negative where a sum adds up n of them: they go one way.

    **What keeps its scale**: inputs and outputs of the graph, constants and inputs of tables that nothing of the above moves, what other operations not named here read or make, results of an op with the attribute `tosa_rescale.fixed_factor = 1.0` (any other factor is applied as given, and the
    attribute removed), and tensors without a known zero
    point. A table of 256 entries, and without `litert` one of 513, is written anew for another scale of its result.
    Where such scales contradict each other, the smallest set of multipliers that the pass finds keeps its width: each yields a remark that says why, and gets `tosa_rescale.bits = 31`, so that later passes leave it alone. With `strict` it
    is an error, and nothing changes.

    An op that makes a tensor of 8 or 16 bits with a new scale gets the attribute `tosa_rescale.scale_factor`, f as f64; running the pass again multiplies them.

    Before, `a` scaled by 0.75 * 2^-8 meets another tensor in an addition as 0.75 * 2^-1 of its scale:

    ```mlir
    %a = tosa.rescale %acc, %m0, %s0, %izp, %zp {...}      // 1610612736 * 2^-39
    %wide = tosa.rescale %a, %m1, %s1, %zp, %izp {...}     // 1610612736 * 2^-32
    ```

    After `--tosa-rescale-align="bits=1"` with f = 4/3:

    ```mlir
    %a = tosa.rescale %acc, %m0, %s0, %izp, %zp {tosa_rescale.scale_factor = 1.3333333333333333 : f64, ...}  // 1207959552 * 2^-39
    %wide = tosa.rescale %a, %m1, %s1, %zp, %izp {...}     // 1073741824 * 2^-31
    ```
  }];
  let dependentDialects = ["::mlir::tosa::TosaDialect"];
  let options = [
    BitsOption<"Significant bits of a multiplier between tensors, 1 to 31 (required)">,
    HiddenBitOption,
    Option<"clipping", "clipping", "double", /*default=*/"0.1",
           "Part by which a scale may shrink of whose tensor nothing was measured, 0 to 0.5">,
    Option<"constants", "constants", "bool", /*default=*/"true",
           "Fold rescales of constants, write constants at other scales, and let products with constants take up any multiplier; not with litert">,
    Option<"saturation", "saturation", "bool", /*default=*/"true",
           "Clamp a tensor with a larger scale where it saturated before; not with litert">,
    Option<"tableError", "table-error", "double", /*default=*/"1.0",
           "Largest error, in steps of its entries, at which a table may be written anew for another scale of its input where a multiplier would stay wide else; 0 leaves all tables">,
    Option<"litert", "litert", "bool", /*default=*/"false",
           "Of the operands of an addition, scale the one with the largest multiplier by a power of two, as LiteRT does">,
    Option<"tabulate", "tabulate", "bool", /*default=*/"false",
           "Leave multipliers wide that tosa-rescale-tabulate takes into tables, and let tables of LiteRT have results at any scale">,
    Option<"weightedMeans", "weighted-means", "bool", /*default=*/"false",
           "Make means convolutions with constant weights where a multiplier would stay wide else">,
    Option<"strict", "strict", "bool", /*default=*/"false",
           "Fail where a multiplier must stay wide">,
  ];
  let statistics = [
    Statistic<"numAligned", "num-aligned", "Number of tensors with a new scale">,
    Statistic<"numRewritten", "num-rewritten", "Number of rescales with new multipliers">,
    Statistic<"numFolded", "num-folded", "Number of rescales of constants that were folded">,
    Statistic<"numAbsorbed", "num-absorbed", "Number of constants that take up a multiplier">,
    Statistic<"numWeighted", "num-weighted", "Number of means that became convolutions">,
    Statistic<"numWide", "num-wide", "Number of rescales that must stay wide">,
  ];
}

def TosaRescaleCompensatePass : Pass<"tosa-rescale-compensate", "::mlir::func::FuncOp"> {
  let summary = "Narrow multipliers and fold the difference into weights and biases";
  let description = [{
    Narrows the multipliers behind convolutions as `tosa-rescale-narrow` does, but chooses for each output channel the smallest multiplier of `bits` bits
    for which the weights still fit -127 to 127, and scales weights and bias by the ratio `r` of the original multiplier to the new one:
    `w' = round(w * r)`, `b' = round(b * r)`. The products stay what they were, up to the rounding of the weights.

    **Multiplier.** `r` may exceed 1 where weights do not fill their range, unless accumulator, bias or the value range of `scale32` would overflow. With
    `clip`, single weights are cut off where the finer grid of the others gains more. A channel whose multiplier is narrow already stays
    as it is, so running the pass again changes no constant. Multipliers that miss `bits` bits by less than 2^-22 of their value count as exact: files that hold scales as float32
    bring them back so.

    **Rounding.** With `weight-rounding=auto` the weights minimise d'Hd for d = w*r - w', the expected square of the accumulator's error, by the best
    single step until none helps; H = (1-l) E[xx'] + l t ((1-c) I + c 11'), with l = `shrinkage` and t the mean of the diagonal of E[xx']. c is 1/2, as for inputs behind a ReLU;
    a whole `input_moment` says what it is, up to 1/2. Without statistics l is 1, and c is 0 for inputs of 16 bits that take both signs. Where the
    measured moments say that round-to-nearest is better for a layer as a whole, the layer has that.

    **Statistics** of the input x less its zero point, where border padding counts as 0, are read from attributes of the convolution, which the pass removes.
    All are f32 tensors; K counts the weights of one output channel in their order, and in `depthwise_conv2d` each of C channels has T = KH*KW of its own:

    | attribute | holds | `conv2d`, `transpose_conv2d` | `conv3d` | `depthwise_conv2d` |
    |---|---|---|---|---|
    | `tosa_rescale.input_mean` | E[x] | [KH,KW,IC] | [KD,KH,KW,IC] | [KH,KW,C] |
    | `tosa_rescale.input_square` | E[x^2] | [KH,KW,IC] | [KD,KH,KW,IC] | [KH,KW,C] |
    | `tosa_rescale.input_factors` | F, with E[xx'] = F'F but on the diagonal | [R,K] | [R,K] | [C,R,T] |
    | `tosa_rescale.input_moment` | E[xx'], instead of the two above | [K,K] | [K,K] | [C,T,T] |

    With `use-statistics=false` they are removed unread, and the result is the one without data. With means alone, deviations are taken to be as large as the means.

    The bias makes up for the mean of what rounding loses: `b' = round(b*r + sum((w*r - w') * E[x]))`.

    **Per-tensor rescales** become per-channel ones with a weight zero point of 0. With `promote=false` they keep one multiplier, which is then rounded up, and
    the weights their zero point.

    What it did to a layer is written on its rescale as `tosa_rescale.compensated`, a dictionary of `ratio_min` and `ratio_max`, `weights_changed` and, with
    squares or moments, `error_nearest` and `error`: the expected square of the error of the result in units of the last place, averaged over the channels, with
    weights rounded to nearest and as they are.

    Other rescales in scope, such as that of a matrix product of two activations, are narrowed to nearest with a remark that says why. The scope is `accumulator`; a rescale
    with the attribute `tosa_rescale.bits` is in scope too.

    Before (m * 2^-s is 0.75 * 2^-8):

    ```mlir
    %w = "tosa.const"() <{values = dense<[[[[100, -60]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
    %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
    %m = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
    %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
    ```

    After `--tosa-rescale-compensate="bits=1"`, 2^-8 and r = 0.75:

    ```mlir
    %w = "tosa.const"() <{values = dense<[[[[75, -45]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
    %b = "tosa.const"() <{values = dense<750> : tensor<1xi32>}> : () -> tensor<1xi32>
    %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
    %s = "tosa.const"() <{values = dense<38> : tensor<1xi8>}> : () -> tensor<1xi8>
    ```
  }];
  let dependentDialects = ["::mlir::tosa::TosaDialect"];
  let options = [
    NarrowedBitsOption,
    HiddenBitOption,
    EncodingOption<"Form of a narrowed multiplier; see tosa-rescale-narrow">,
    Option<"promote", "promote", "bool", /*default=*/"true",
           "Make per-tensor rescales per-channel">,
    Option<"clip", "clip", "bool", /*default=*/"true",
           "Cut off single weights where the others gain more by it">,
    EnumOption<"weightRounding", "weight-rounding", "WeightRounding", [
      Choice<"Auto", "auto", "least expected error of the accumulator">,
      Choice<"Nearest", "nearest", "each to the nearest, ties up">], "How scaled weights become integers">,
    Option<"shrinkage", "shrinkage", "double", /*default=*/"0.3",
           "Weight of the prior against measured moments, 0 to 1">,
    Option<"useStatistics", "use-statistics", "bool", /*default=*/"true",
           "Read statistics of inputs; they are removed unread otherwise">,
    RoundingModeOption<[SingleRound, KeepRound]>,
  ];
  let statistics = [
    Statistic<"numCompensated", "num-compensated", "Number of rescales whose weights were scaled">,
    Statistic<"numNarrowed", "num-narrowed", "Number of rescales narrowed without their weights">,
    Statistic<"numLeftAlone", "num-left-alone", "Number of rescales in scope that could not be narrowed">,
  ];
}

def TosaRescaleLowerPass : Pass<"tosa-rescale-lower", "::mlir::func::FuncOp"> {
  let summary = "Rewrite tosa.rescale into operations of 32 bits";
  let description = [{
    A 31-bit multiplier needs products of 64 bits. One of a few bits does not: this pass writes every rescale, of which that is proven exact, as
    operations of i32 that TOSA 1.0 has in its integer profile, so no compiler and no target needs to know 64-bit integers for it.

    | the multipliers | become |
    |---|---|
    | powers of two below 1 (one bit) | `arithmetic_right_shift` with `round = true` |
    | powers of two of 1 or more | `logical_left_shift` (1 itself: a right shift by 0) |
    | others | `mul` with the compact multiplier, then `arithmetic_right_shift` with `round = true` |

    Around these stand `cast` of a narrow input to i32 (with `bitwise_and` where it counts as unsigned) and `sub` of its zero point; `add` of the zero point of the result, its
    limits as `maximum` and `minimum`, and a `cast`. Constants for each channel broadcast along the last dimension. TOSA's `clamp` takes no i32.

    **Proof.** The interval analysis of `tosa-rescale-verify` must show for every channel that the product with the compact multiplier fits i32, and the result with
    its zero point too. A one-bit multiplier has no product, so it needs no known range. A shift of 32 or more leaves 0 of what fits i32. `DOUBLE_ROUND` equals
    `SINGLE_ROUND` at shifts up to 31, and else where all values of a range of at most 2^17 give the same.

    **Rounding** (`rounding`). `arithmetic_right_shift` with `round = true` is one instruction of many processors, and four in IREE. With `rounding=bias` half of what the shift drops is
    added before, and the shift has `round = false`: in the bias of the convolution, and so for nothing, where nothing else reads the accumulator, and by an `add` elsewhere. Where the sum is not proven to
    fit i32 the shift rounds.

    A rescale of which this is not proven stays one and yields a remark that names range and limit; with `strict` it is an error, and nothing changes. So does one with an unsigned tensor
    type, which `cast` does not take, or with multipliers, shifts or zero points that are no constants.

    **Inputs of i48** (`wide-inputs`), which convolutions of int16 have: where the range of the accumulator fits i32, a rescale of factor 1 makes it an i32, the only way that
    TOSA has, and the rest is as above. Others stay: TOSA shifts no i48.

    The result is the same for every input, bit for bit. Attributes of the rescale go to the operation that makes its result. Shift and product get the attribute
    `tosa_rescale.lowered`; `tosa-rescale-raise` makes rescales of them again.

    Before:

    ```mlir
    // 2^-9 = 1073741824 * 2^-39
    %y = tosa.rescale %acc, %m, %s, %izp, %ozp {rounding_mode = SINGLE_ROUND, scale32 = true, ...} : (tensor<1x8x8x16xi32>, ...) -> tensor<1x8x8x16xi8>
    ```

    After:

    ```mlir
    %nine = "tosa.const"() <{values = dense<9> : tensor<1x1x1x1xi32>}> : () -> tensor<1x1x1x1xi32>
    %0 = tosa.arithmetic_right_shift %acc, %nine {round = true, tosa_rescale.lowered} : (tensor<1x8x8x16xi32>, tensor<1x1x1x1xi32>) -> tensor<1x8x8x16xi32>
    %1 = tosa.add %0, %ozp32 : (tensor<1x8x8x16xi32>, tensor<1x1x1x1xi32>) -> tensor<1x8x8x16xi32>
    %2 = tosa.maximum %1, %low : (tensor<1x8x8x16xi32>, tensor<1x1x1x1xi32>) -> tensor<1x8x8x16xi32>
    %3 = tosa.minimum %2, %high : (tensor<1x8x8x16xi32>, tensor<1x1x1x1xi32>) -> tensor<1x8x8x16xi32>
    %y = tosa.cast %3 : (tensor<1x8x8x16xi32>) -> tensor<1x8x8x16xi8>
    ```
  }];
  let dependentDialects = ["::mlir::tosa::TosaDialect"];
  let options = [
    EnumOption<"scope", "scope", "Scope", [
      Choice<"All", "all", "every rescale">,
      Choice<"Accumulator", "accumulator", "rescales of convolutions and matrix products">], "Which rescales are lowered">,
    EnumOption<"rounding", "rounding", "ShiftRounding", [
      Choice<"Shift", "shift", "the shift, round = true">,
      Choice<"Bias", "bias", "half that is added before, in the bias where that can be">], "What rounds where a shift drops bits">,
    Option<"wideInputs", "wide-inputs", "bool", /*default=*/"false",
           "Lower rescales of i48 too, where the range of their input fits i32">,
    Option<"strict", "strict", "bool", /*default=*/"false",
           "Fail where a rescale cannot be lowered">,
  ];
  let statistics = [
    Statistic<"numLowered", "num-lowered", "Number of rescales lowered">,
    Statistic<"numLeftAlone", "num-left-alone", "Number of rescales in scope that stay">,
  ];
}

def TosaRescaleCarryPass : Pass<"tosa-rescale-carry", "::mlir::func::FuncOp"> {
  let summary = "Keep 16-bit tensors that are only widened again in 32 bits";
  let description = [{
    A tensor of i16 that nothing reads but rescales to i32, directly or behind `reshape`, `transpose`, `slice` and `identity`, is rounded to 16 bits for nothing. This pass makes its rescale one to i32, and the second
    one goes: with one rescale less the tensor is rounded more finely than in the original.

    - Where it is widened by 2 or more, as in front of an addition, it gets that scale at once.
    - Where it is widened at its own scale and summed up by `reduce_sum`, as the squares of a LayerNorm, a step is divided into as many as the sum of i32 and a 32-bit multiplier allow, a power of two, and the rescale of the sum has
      a shift that is larger by as many bits. Squares that 16 bits round to 0 add up then.

    A tensor saturates where it did: `maximum` and `minimum` hold it to the limits of i16 unless its range cannot exceed them. A tensor that would be no finer, whose zero point is not 0, or whose result could exceed what TOSA defines, stays.

    The module is no longer what the kernels of LiteRT or CMSIS-NN compute, whose tensors are of 8 and 16 bits; run it before `tosa-rescale-align`, which then has fewer scales to choose.

    ```mlir
    // before: 1 << 30, 45
    %squares = tosa.rescale %product, %m, %s45, ... : (tensor<1x8x384xi32>, ...) -> tensor<1x8x384xi16>
    %wide = tosa.rescale %squares, %m, %s30, ... : (tensor<1x8x384xi16>, ...) -> tensor<1x8x384xi32>
    %sum = tosa.reduce_sum %wide {axis = 2 : i32} : (tensor<1x8x384xi32>) -> tensor<1x8x1xi32>
    %y = tosa.rescale %sum, %n, %s37, ... : (tensor<1x8x1xi32>, ...) -> tensor<1x8x1xi16>
    // after: 384 * 2^15 * 2^7 is the largest power of two that i32 holds
    %wide = tosa.rescale %product, %m, %s38, ... : (tensor<1x8x384xi32>, ...) -> tensor<1x8x384xi32>
    %low = tosa.maximum %wide, %c-4194304 : ...
    %held = tosa.minimum %low, %c4194176 : ...
    %sum = tosa.reduce_sum %held {axis = 2 : i32} : (tensor<1x8x384xi32>) -> tensor<1x8x1xi32>
    %y = tosa.rescale %sum, %n, %s44, ... : (tensor<1x8x1xi32>, ...) -> tensor<1x8x1xi16>
    ```
  }];
  let dependentDialects = ["::mlir::tosa::TosaDialect"];
  let statistics = [
    Statistic<"numCarried", "num-carried", "Number of tensors that stay in 32 bits">,
  ];
}

def TosaRescalePoolsPass : Pass<"tosa-rescale-pools", "::mlir::func::FuncOp"> {
  let summary = "Make average pools that divide convolutions with constant weights";
  let description = [{
    `avg_pool2d` over a window of n values multiplies their sum by 1/n, in hardware a multiplier unless n is a power of two. This pass makes it a `depthwise_conv2d`, whose n weights of i8 are two neighbouring
    numbers that add up to 2^s exactly, and a `tosa.rescale` by 2^-s: a shift. 2^s is the largest power of two that the weights can add up to: 2^12 for 49 values, 29 of weight 84 and 20 of weight 83.

    A window of equal values keeps its mean exactly. The absolute differences between the weights and 2^s/n add up to at most n/2, and 2^s is more than 127 * n/2, so a mean moves by at most 1/254 of the range that
    the values of its window span: by one step of i8, or by 258 of i16, and far less where values do not happen to follow the weights.

    Pools over powers of two stay. So do, with a remark, those whose windows reach over the border and hold different numbers of values, whose extents or zero points are not known, or whose values are neither i8 nor i16.

    ```mlir
    // before: a division by 49
    %y = tosa.avg_pool2d %x, %zp, %zp {kernel = array<i64: 7, 7>, ...} : (tensor<1x7x7x8xi8>, ...) -> tensor<1x1x1x8xi8>
    // after: a shift by 12
    %sum = tosa.depthwise_conv2d %x, %weights, %zeros, %zp, %zero {...} : (tensor<1x7x7x8xi8>, tensor<7x7x8x1xi8>, ...) -> tensor<1x1x1x8xi32>
    %y = tosa.rescale %sum, %m, %s, %zero32, %zp {rounding_mode = SINGLE_ROUND, scale32 = true, ...} : (tensor<1x1x1x8xi32>, ...) -> tensor<1x1x1x8xi8>
    ```
  }];
  let dependentDialects = ["::mlir::tosa::TosaDialect"];
  let statistics = [
    Statistic<"numWeighted", "num-weighted", "Number of pools that became convolutions">,
    Statistic<"numLeftAlone", "num-left-alone", "Number of pools that divide, and stay">,
  ];
}

def TosaRescaleRaisePass : Pass<"tosa-rescale-raise", "::mlir::func::FuncOp"> {
  let summary = "Make tosa.rescale of the operations that tosa-rescale-lower wrote";
  let description = [{
    The inverse of `tosa-rescale-lower`: everything that reads or changes rescales sees them again, as what they are, with the multiplier at the top of i32 and `SINGLE_ROUND`.

    Each gets the attribute `tosa_rescale.lowered`, which says where it comes from.

    It goes by the operations themselves, which survive every tool and file format: one constant shift that rounds, by itself or by half in front of it (with at most one product by a constant that is never negative), which begins
    with a `cast` from 8 or 16 bits or ends with the limits of a narrower type and a `cast` to it. Two things need the attribute `tosa_rescale.lowered` of the shift, which some tools drop: a rescale from i32 to i32,
    which without it stays a shift, and one behind a product of the network with a constant, which without it takes that constant for a multiplier of its own. Both compute the same. Where any shift of a function has the attribute, shifts without it are the network's own, and stay.

    ```mlir
    // before
    %0 = tosa.cast %x : (tensor<4xi8>) -> tensor<4xi32>
    %1 = tosa.logical_left_shift %0, %three {tosa_rescale.lowered} : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
    // after: 1073741824 * 2^-27
    %1 = tosa.rescale %x, %m, %s, %zp, %zp32 {rounding_mode = SINGLE_ROUND, scale32 = true, ...} : (tensor<4xi8>, ...) -> tensor<4xi32>
    ```
  }];
  let dependentDialects = ["::mlir::tosa::TosaDialect"];
  let statistics = [
    Statistic<"numRaised", "num-raised", "Number of rescales found">,
  ];
}

def TosaRescaleTabulatePass : Pass<"tosa-rescale-tabulate", "::mlir::func::FuncOp"> {
  let summary = "Make element-wise functions of one tensor of 8 bits tables";
  let description = [{
    What element-wise operations make of one tensor of i8 alone, as i8 again, is a function of 256 numbers. Where a multiplier of more than `bits` bits is among them, this pass replaces them by a `tosa.table` with
    exactly these results: a leaky ReLU, whose two multipliers have the ratio of its slope, or a rescale from one scale of i8 to another. The network computes what it did, bit for bit.

    A chain is made of `rescale` with one multiplier, `add`, `sub`, `mul`, `maximum`, `minimum`, `clamp`, `abs`, `select`, comparisons, shifts, `cast` and `identity`; all tensors in it have the shape of its input, or are constants with one value in all elements, perhaps rescaled and in another shape. Its rescales
    must serve nothing else, so that they are gone, and every result must be one that the specification defines. A table of 256 entries in front of it that nothing else reads becomes part of it. What is unsigned, has a multiplier for each channel, or reads two tensors stays.

    A table needs 256 bytes and a look-up where an ALU and a multiplier were, so this is a choice. The table gets the attribute `tosa_rescale.tabulated`.

    ```mlir
    // before: slope 0.1
    %kept = tosa.rescale %x, %one, %s30, ... : (tensor<1x8xi8>, ...) -> tensor<1x8xi32>
    %small = tosa.rescale %x, %tenth, %s33, ... : (tensor<1x8xi8>, ...) -> tensor<1x8xi32>
    %larger = tosa.maximum %kept, %small : (tensor<1x8xi32>, tensor<1x8xi32>) -> tensor<1x8xi32>
    %y = tosa.rescale %larger, %one, %s30, ... : (tensor<1x8xi32>, ...) -> tensor<1x8xi8>
    // after
    %y = tosa.table %x, %entries {tosa_rescale.tabulated = 1 : i64} : (tensor<1x8xi8>, tensor<256xi8>) -> tensor<1x8xi8>
    ```
  }];
  let dependentDialects = ["::mlir::tosa::TosaDialect"];
  let options = [
    BitsOption<"Significant bits that a multiplier may have, 1 to 31 (required)">,
    HiddenBitOption,
  ];
  let statistics = [
    Statistic<"numTables", "num-tables", "Number of tables that were made">,
  ];
}

def TosaRescaleVerifyPass : Pass<"tosa-rescale-verify", "::mlir::func::FuncOp"> {
  let summary = "Check every tosa.rescale against the specification and a bit width";
  let description = [{
    Reports every rescale that

    - is in scope and has a multiplier of more than `bits` significant bits (0: not checked);
    - has a shift outside 2 to 62 or a negative multiplier;
    - may, for some input of the function, receive a value outside the range that `scale32` allows, or a result outside i32;
    - reads an accumulator that may overflow its type;
    - combines types, zero points, unsignedness and rounding mode in a way that the specification forbids;
    - has multipliers or shifts that are not constants, so that nothing can be said.

    What `tosa-rescale-lower` made of a rescale is checked as the rescale that it was; see `tosa-rescale-raise`.

    The ranges follow from an interval analysis: weights, bias and zero points for each output channel of a convolution, the type of a function
    argument, and interval arithmetic in between. An operation it does not know yields the full range of its type. So the check
    is sound, and an error means "not proven", with the range that was found.

    ```mlir
    // error: 'tosa.rescale' op requires a value from -65536 to 65535 for scale32 with shift 17, got -128000 to 127000
    %y = tosa.rescale %acc, %m, %s, %izp, %ozp {scale32 = true, ...}
    ```
  }];
  let options = [
    BitsOption<"Most significant bits that a multiplier in scope may have, 1 to 31; 0 does not check">,
    ElementwiseBitsOption,
    HiddenBitOption,
    ScopeOption<"Which rescales are held to the bit width">,
  ];
}

def TosaRescaleAnnotatePass : Pass<"tosa-rescale-annotate", "::mlir::func::FuncOp"> {
  let summary = "Write what is known about each tosa.rescale into an attribute";
  let description = [{
    The analysis of `tosa-rescale-verify` without its verdict. Each rescale gets the attribute `tosa_rescale.info`, a dictionary of

    - `producer`: name of the operation, without its dialect, that its input comes from (`argument` for a function or block argument);
    - `scope`: `accumulator` or `elementwise`;
    - `value_min`, `value_max`: the range of its input minus the zero point;
    - `violations`: what `tosa-rescale-verify` would report.

    ```mlir
    %y = tosa.rescale ... {tosa_rescale.info = {producer = "conv2d", scope = "accumulator",
        value_max = 127000 : i64, value_min = -128000 : i64, violations = []}}
    ```
  }];
}

def TosaRescaleStaticBatchPass : Pass<"tosa-rescale-static-batch", "::mlir::ModuleOp"> {
  let summary = "Make the batch dimension static";
  let description = [{
    Gives dimension 0 of every function argument the size `batch` where it is dynamic, infers the shape of every TOSA operation from there, and replaces
    the -1 in the shape operands of `reshape` and `slice` by what they stand for. Afterwards no tensor type is dynamic; what cannot be
    made static is an error.

    Before:

    ```mlir
    func.func @f(%x: tensor<?x2x5xi8>) -> tensor<?x10xi8> {
      %shape = tosa.const_shape {values = dense<[-1, 10]> : tensor<2xindex>} : () -> !tosa.shape<2>
      %y = tosa.reshape %x, %shape : (tensor<?x2x5xi8>, !tosa.shape<2>) -> tensor<?x10xi8>
      return %y : tensor<?x10xi8>
    }
    ```

    After `--tosa-rescale-static-batch`:

    ```mlir
    func.func @f(%x: tensor<1x2x5xi8>) -> tensor<1x10xi8> {
      %shape = tosa.const_shape {values = dense<[1, 10]> : tensor<2xindex>} : () -> !tosa.shape<2>
      %y = tosa.reshape %x, %shape : (tensor<1x2x5xi8>, !tosa.shape<2>) -> tensor<1x10xi8>
      return %y : tensor<1x10xi8>
    }
    ```
  }];
  let dependentDialects = ["::mlir::tosa::TosaDialect"];
  let options = [
    Option<"batch", "batch", "int64_t", /*default=*/"1", "Size of the batch, at least 1">,
  ];
}

#endif // TOSA_RESCALE_PASSES
