//! What users rely on, held against real parts; one file a subject. All of it is one program, so that it is built and linked
//! once: `cargo test --release --test all crash::` runs one subject. `tests/run` installs what the parts need.

mod amqp;
mod amqp_trouble;
mod bad_input;
mod campaign;
mod command_line;
mod conformance;
mod crash;
mod credentials;
mod dead;
mod doctor;
mod drain;
mod embedded;
mod fleet;
mod ladder;
mod main_job;
mod observability;
mod official_sdks;
mod pace;
mod packaging;
mod rehearsal;
mod sandbox;
mod signature_vectors;
mod support;
mod tracing;
mod verify;
