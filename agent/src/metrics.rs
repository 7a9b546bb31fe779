//! Everything this agent tells Prometheus. One table holds name, type, labels and help; what is registered is made from it,
//! and README's table is compared with it.

pub mod capture;
pub mod own;
pub mod series;
pub(crate) mod table;

pub use capture::CaptureMetrics;
pub use own::{JournalMetrics, OwnMetrics};
pub use series::{JobSeries, SeriesOptions};
pub use table::{Kind, METRICS, Metric};
