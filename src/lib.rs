//! bulkrelease releases cloud instances in bulk: a job worker between a broker and the `ReleaseInstance` operation of
//! Alibaba Cloud's BssOpenApi. The map, in the order data flows:
//!
//! | room | what it is for |
//! |---|---|
//! | [`cli`] | one file a command: worker, enqueue, dead, verify, doctor, setup, sandbox, demo, config, healthcheck |
//! | [`dead`] | dead letters: looking, choosing, replaying |
//! | [`config`] | every setting, typed; defaults < file < environment < flags |
//! | [`broker`] | takes jobs from a queue, puts results into one, lets jobs wait in others: RabbitMQ or one SQLite file |
//! | [`worker`] | the loop that joins the rooms |
//! | [`engine`] | the heart, pure: what to call next, and what a verdict means for every id |
//! | [`pace`] | when a call may go: quota, pauses, delays |
//! | [`api`] | one call, or one query that reads suspects back: request, signature, credentials, error table, client |
//! | [`ops`] | what people and machines see: metrics, log lines, health, spans |
//! | [`sandbox`] | a `ReleaseInstance` server to rehearse against |
//! | [`doctor`] | facts about settings, accounts and broker in, findings out: what is wrong before it is felt |
//! | [`verify`] | jobs, results, dead letters and ledger held against each other: is anything lost? |
//! | [`contract`] | the words that all rooms share, and the messages made of them |
//!
//! Arrows run one way: `cli -> worker -> {engine, pace, api, broker, ops} -> contract`. The engine knows neither tokio nor
//! lapin nor reqwest. Follow one job: [`broker::Delivery`] -> `worker::intake` -> [`engine::Engine::admit`] ->
//! [`engine::Engine::seal`] -> [`api::Client::release`] -> [`engine::Engine::verdict`] -> `worker::reply` ->
//! [`broker::Settlement::Finish`]. Two by-ways: suspects are read back first ([`engine::Engine::seal_read_back`] ->
//! [`api::Client::query`] -> [`engine::Engine::read_back`]); and a job that must wait becomes an
//! [`engine::PostponedJob`] -> `worker::postpone` -> [`contract::Remainder`] -> [`broker::Destination::Retry`], a retry
//! queue from which it is delivered again.

pub mod api;
pub mod broker;
pub mod cli;
pub mod config;
pub mod contract;
pub mod dead;
pub mod doctor;
pub mod engine;
pub mod ops;
pub mod pace;
pub mod sandbox;
pub mod verify;
pub mod worker;
