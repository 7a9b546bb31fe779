//! The logs of job pods: captured as soon as they exist, kept until the object store has them.
//!
//! ```text
//! /var/log/pods ──capture (thread: inotify, link(2))──▶ spool ──sealed──▶ ship ──▶ object store
//!                        ▲ standing of each pod           ▲                 │ tickets
//!                        └── books                        └──── done ◀──────┘
//! ```
//! The spool is the only state: hard links and small files, so that a kill at any moment loses nothing.

pub mod capture;
pub mod options;
pub mod sealed;
pub mod ship;

pub use capture::{Capture, Standings};
pub use options::LogsOptions;
pub use sealed::{Outcome, Piece, PieceForm, SealedLog};
pub use ship::{ShipMetrics, ShipOptions, Shipper};
