//===- TosaRescaleTabulate.cpp - wide multipliers become tables -----------===//
//
// Implements tosa-rescale-tabulate.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Attributes.h"
#include "ByteChains.h"
#include "Constants.h"
#include "Diagnostics.h"
#include "Passes.h"
#include "RescaleOps.h"

#define DEBUG_TYPE "tosa-rescale-tabulate"

using namespace mlir;

namespace tosa_rescale {

#define GEN_PASS_DEF_TOSARESCALETABULATEPASS
#include "Passes.h.inc"

namespace {

struct TosaRescaleTabulatePass final
    : impl::TosaRescaleTabulatePassBase<TosaRescaleTabulatePass> {
  using Base::Base;

  LogicalResult initialize(MLIRContext *context) override {
    return checkBitsRequest(UnknownLoc::get(context), getArgument(),
                            {bits, 0, hiddenBit, Scope::All}, kMinBits);
  }

  void runOnOperation() override {
    SmallVector<Operation *> roots;
    for (const ByteChain &chain : findByteChains(getOperation()))
      if (llvm::any_of(chain.getRescales(),
                       [&](tosa::RescaleOp op) { return isWide(op); }))
        roots.push_back(chain.getRoot());
    for (Operation *root : roots) {
      // What it reads may have become a table that it takes in.
      rewrite(*ByteChain::match(root));
      ++numTables;
    }
  }

private:
  bool isWide(tosa::RescaleOp op) const {
    return significantBits(getScales(op)->front().multiplier) >
           bits + (hiddenBit ? 1 : 0);
  }
  static void rewrite(const ByteChain &chain);
};

} // namespace

void TosaRescaleTabulatePass::rewrite(const ByteChain &chain) {
  Operation *root = chain.getRoot();
  OpBuilder builder(root);
  const auto type = RankedTensorType::get({256}, builder.getI8Type());
  Value entries = tosa::ConstOp::create(builder, root->getLoc(), type,
                                        makeElements(type, *chain.compute()));
  auto table = tosa::TableOp::create(builder, root->getLoc(),
                                     root->getResult(0).getType(),
                                     chain.getInput(), entries);
  table->setAttr(kTabulatedAttrName, builder.getI64IntegerAttr(1));
  if (Attribute factor = root->getAttr(kFactorAttrName))
    table->setAttr(kFactorAttrName, factor);
  remarkOn(table) << "is a table of 256 entries in the place of "
                  << chain.getRescales().size()
                  << (chain.getRescales().size() == 1 ? " rescale"
                                                      : " rescales");
  root->getResult(0).replaceAllUsesWith(table.getOutput());
  eraseIfDead(root);
}

} // namespace tosa_rescale
