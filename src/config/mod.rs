//! Settings: what they are (`settings`), how file, environment and flags become one (`layers`), and which values make
//! no sense together (`check`).

mod assignment;
mod change;
mod check;
pub(crate) mod duration;
mod endpoint;
#[cfg(test)]
mod example;
mod file;
mod keys;
mod layers;
mod origin;
mod redacted;
mod settings;

pub use change::{Change, change};
pub use check::{Violation, check};
pub use duration::parse as parse_duration;
pub use endpoint::endpoint;
pub(crate) use file::parse as parse_file;
pub use keys::{Leaf, leaves};
pub use layers::{ConfigError, Loaded, environment, load};
pub use origin::Origin;
pub use redacted::redacted;
pub use settings::*;
