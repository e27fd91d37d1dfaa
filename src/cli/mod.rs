//! One file per command.

pub mod sandbox;
