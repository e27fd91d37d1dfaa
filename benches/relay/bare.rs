//! The bare relay: takes a job, publishes a message as large as its result, acks when that is confirmed. It reads
//! nothing and remembers nothing, so no worker on the same client library can be faster.

use std::collections::BTreeMap;

use bulkrelease::contract::{
    Counts, Evidence, InstanceId, InstanceOutcome, InstanceResult, JOBS, JobId, JobResult, Outcome, RESULT_KIND,
    RESULTS, Status,
};
use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use jiff::Timestamp;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use uuid::Uuid;

use super::queues::{job_name, job_of};

/// The argument that makes this program the relay.
pub const COMMAND: &str = "bare-relay";

const PREFETCH: u16 = 1000;

/// Relays until it is ended. Consumes and publishes over two connections, as the worker does: one alone is slower.
pub async fn relay(url: &str) -> anyhow::Result<()> {
    let connect = || Connection::connect(url, ConnectionProperties::default());
    let (consuming, publishing) = (connect().await?, connect().await?);
    let (consuming, publishing) = (consuming.create_channel().await?, publishing.create_channel().await?);
    publishing.confirm_select(ConfirmSelectOptions::default()).await?;
    consuming.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut jobs = consuming.basic_consume(JOBS.into(), "".into(), options, FieldTable::default()).await?;
    let (body, properties) = (result_body(), properties());

    let mut under_way = FuturesOrdered::new();
    loop {
        tokio::select! {
            biased;
            Some(confirmed) = under_way.next(), if !under_way.is_empty() => {
                let mut last = confirmed?;
                while let Some(Some(confirmed)) = under_way.next().now_or_never() {
                    last = confirmed?;
                }
                consuming.basic_ack(last, BasicAckOptions { multiple: true }).await?;
            }
            Some(job) = jobs.next() => {
                let mut next = Some(job);
                while let Some(job) = next {
                    let tag = job?.delivery_tag;
                    let (publishing, body, properties) = (&publishing, &body, &properties);
                    under_way.push_back(async move {
                        let options = BasicPublishOptions::default();
                        let (exchange, key) = (RESULTS.into(), "Released.ecs".into());
                        publishing.basic_publish(exchange, key, options, body, properties.clone()).await?.await?;
                        Ok::<_, lapin::Error>(tag)
                    });
                    next = jobs.next().now_or_never().flatten();
                }
            }
            else => anyhow::bail!("the broker closed the relay's consumer"),
        }
    }
}

/// What a worker answers to a job with one id.
pub fn result_body() -> Vec<u8> {
    let now = Timestamp::now();
    let evidence = Evidence { request_id: Some(Uuid::new_v4().to_string().to_uppercase()), ..Evidence::default() };
    let outcome =
        InstanceOutcome { outcome: Outcome::Released, presumed: false, suspect: false, evidence: evidence.into() };
    let id = InstanceId::new(job_of(0)).expect("the benchmark's own ids are well formed");
    JobResult {
        result_id: Uuid::new_v4(),
        job_id: JobId::new(&job_name(0)).expect("the benchmark's own names are well formed"),
        status: Status::Released,
        counts: Counts::of([Outcome::Released].into_iter()),
        instances: vec![InstanceResult::new(id, &outcome)],
        attempts: 1,
        received_at: now,
        finished_at: now,
        worker: "benchmark-12345".to_owned(),
        labels: BTreeMap::new(),
    }
    .into_body()
}

fn properties() -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_message_id(job_name(0).into())
        .with_type(RESULT_KIND.into())
        .with_timestamp(Timestamp::now().as_second().unsigned_abs())
}
