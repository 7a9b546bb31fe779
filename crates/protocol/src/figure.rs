use serde::{Deserialize, Serialize};

/// How a figure was obtained, from the most to the least exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A cumulative counter or watermark of the kernel, read for exactly this subject.
    Kernel,
    /// Computed from `kernel` figures of other subjects, for example pod minus sandbox.
    Derived,
    /// `wait4(2)`: the waited-for process and its waited-for descendants; memory is that of the largest single process.
    Rusage,
    /// Seen by looking from time to time: a lower bound.
    Sampled,
}

impl Method {
    /// The word used on the wire, in tables and as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Derived => "derived",
            Self::Rusage => "rusage",
            Self::Sampled => "sampled",
        }
    }
}

/// A number that cannot be had without the method behind it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure<T> {
    pub value: T,
    pub method: Method,
}

impl<T> Figure<T> {
    pub const fn new(value: T, method: Method) -> Self {
        Self { value, method }
    }

    pub const fn kernel(value: T) -> Self {
        Self::new(value, Method::Kernel)
    }

    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Figure<U> {
        Figure { value: f(self.value), method: self.method }
    }
}
