//! cgroups as they are found: which hierarchies there are, where pods lie in them, and what their files say.
//!
//! Watermarks are only ever read: writing to them resets them for everybody.

pub mod events;
pub mod held;
pub mod layout;
pub mod live;
pub mod parse;
pub mod place;
pub mod read;
pub mod source;

pub use events::Events;
pub use held::Held;
pub use layout::{Controllers, Layout, LayoutError, Version};
pub use live::Live;
pub use place::{ContainerPlace, Place, PodPlace, TreeKind};
pub use read::{MemoryNow, ReadOutcome, Reader};
