//! Settings: what they are (`settings`), and how file, environment and flags become one (`layers`).

mod duration;
mod settings;

pub use duration::parse as parse_duration;
pub use settings::*;
