//! The ReleaseInstance API, from both sides of the wire. It must not know of brokers, jobs or the pace of calls.

pub mod signature;
