//! Real parts for the tests, each started by the test that needs it and gone with it.

pub mod cluster;
pub mod collector;
pub mod orders;
pub mod program;
pub mod proxy;
pub mod rabbitmq;
pub mod recorded;
pub mod results;
pub mod signals;
pub mod subscriber;
pub mod unreadable;
pub mod worker;
