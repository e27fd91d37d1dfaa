//! bulkrelease releases cloud instances in bulk. The map, in the order data flows.

pub mod api;
pub mod broker;
pub mod cli;
pub mod config;
pub mod contract;
pub mod engine;
pub mod pace;
pub mod sandbox;
