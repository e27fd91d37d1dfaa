//! Real parts for the tests, each started by the test that needs it and gone with it.

#[allow(dead_code, reason = "each test binary uses its part of it")]
pub mod cluster;
#[allow(dead_code, reason = "each test binary uses its part of it")]
pub mod orders;
#[allow(dead_code, reason = "each test binary uses its part of it")]
pub mod program;
#[allow(dead_code, reason = "each test binary uses its part of it")]
pub mod proxy;
#[allow(dead_code, reason = "each test binary uses its part of it")]
pub mod rabbitmq;
#[allow(dead_code, reason = "each test binary uses its part of it")]
pub mod results;
#[allow(dead_code, reason = "each test binary uses its part of it")]
pub mod signals;
#[allow(dead_code, reason = "each test binary uses its part of it")]
pub mod subscriber;
#[allow(dead_code, reason = "each test binary uses its part of it")]
pub mod unreadable;
#[allow(dead_code, reason = "each test binary uses its part of it")]
pub mod worker;
