//! Object stores from outside: one contract for all of them, and what each must withstand.

mod contract;
mod doubles;
mod faults;
mod iam;
mod rotation;
pub(crate) mod stores;
