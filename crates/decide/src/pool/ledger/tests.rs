//! The ledger step by step; what goes wrong at random is in `tests/pool_model`.

mod kit;
mod lists;
mod nodes;
mod writes;
