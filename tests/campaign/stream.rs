//! The producer and the consumer of a campaign: jobs go in while everything breaks, results are read as they come.

use std::collections::HashSet;
use std::time::Duration;

use bulkrelease::broker::{Broker, Event, Queue, Settlement};
use bulkrelease::contract::{JobResult, Message};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::campaign::orders::Sent;
use crate::support::program::Program;

/// Jobs that are enqueued at a time.
const AT_A_TIME: usize = 50;
/// No producer waits longer for a broker to come back.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two lots of jobs.
const PAUSE: Duration = Duration::from_millis(500);

/// Sends every job, as soon as so many are allowed, until each is confirmed. Answers with those that were sent more than once because
/// a confirm did not come: they may be there twice, as their producer must expect.
pub async fn produce(broker: Box<dyn Broker>, sent: Vec<Sent>, mut allowed: watch::Receiver<usize>) -> HashSet<String> {
    let mut twice = HashSet::new();
    for (index, some) in sent.chunks(AT_A_TIME).enumerate() {
        allowed.wait_for(|allowed| *allowed > index * AT_A_TIME).await.expect("a campaign");
        let mut open: Vec<&Sent> = some.iter().collect();
        let begun = Instant::now();
        loop {
            let answers = broker.enqueue(open.iter().map(|sent| sent.message()).collect::<Vec<Message>>()).await;
            let answers: Vec<_> = open.iter().zip(answers).collect();
            let failed = answers.iter().find_map(|(_, answer)| answer.as_ref().err());
            let Some(error) = failed else { break };
            assert!(begun.elapsed() < PATIENCE, "jobs can't be enqueued: {error}");
            open = answers.iter().filter(|(_, answer)| answer.is_err()).map(|(sent, _)| **sent).collect();
            twice.extend(open.iter().map(|sent| sent.name.clone()));
            sleep(Duration::from_millis(200)).await;
        }
        sleep(PAUSE).await;
    }
    twice
}

/// The same by the command line, each time as a process of its own.
pub async fn produce_by_command(
    variables: Vec<(String, String)>,
    sent: Vec<Sent>,
    mut allowed: watch::Receiver<usize>,
) -> HashSet<String> {
    let mut twice = HashSet::new();
    for (index, some) in sent.chunks(AT_A_TIME).enumerate() {
        allowed.wait_for(|allowed| *allowed > index * AT_A_TIME).await.expect("a campaign");
        let mut open: Vec<&Sent> = some.iter().collect();
        let begun = Instant::now();
        while !open.is_empty() {
            let lines: String = open.iter().map(|sent| format!("{}\n", sent.body)).collect();
            let mut command = Program::start(&["enqueue", "--jobs", "-"], &variables, &lines);
            let ended = command.ended(PATIENCE).await;
            let confirmed: HashSet<&str> = ended.output.lines().collect();
            open.retain(|sent| !confirmed.contains(sent.name.as_str()));
            assert_eq!(ended.code == Some(0), open.is_empty(), "{}", ended.errors);
            assert!(begun.elapsed() < PATIENCE, "jobs can't be enqueued: {}", ended.errors);
            twice.extend(open.iter().map(|sent| sent.name.clone()));
        }
        sleep(PAUSE).await;
    }
    twice
}

/// Takes results, as a consumer does, and tells how many different ones have come.
pub async fn consume(broker: Box<dyn Broker>, different: watch::Sender<usize>) {
    let mut subscription = broker.subscribe(Queue::Results, 1000);
    let mut seen = HashSet::new();
    while let Some(event) = subscription.events.recv().await {
        if let Event::Delivery(delivery) = event {
            let result: JobResult = serde_json::from_slice(&delivery.message.body).expect("a result");
            seen.insert(result.result_id);
            different.send_replace(seen.len());
            subscription.settle(Settlement::Finish { tag: delivery.tag, publications: Vec::new() });
        }
    }
}

/// Waits until so many results have come, as long as now and then one does.
pub async fn until_results(mut different: watch::Receiver<usize>, wanted: usize) {
    loop {
        let now = *different.borrow_and_update();
        if now >= wanted {
            return;
        }
        if timeout(PATIENCE, different.changed()).await.is_err() {
            println!("{now} of {wanted} jobs have a result, and for {PATIENCE:?} no further one came");
            return;
        }
    }
}

/// Waits until nothing waits in these queues, or the patience is at its end.
pub async fn until_empty(broker: &dyn Broker, queues: &[Queue]) {
    let begun = Instant::now();
    let mut empty = 0;
    // Once may be between two queues.
    while empty < 5 {
        let mut left = 0;
        for queue in queues {
            left += broker.depth(queue.clone()).await.unwrap_or(1);
        }
        empty = if left == 0 { empty + 1 } else { 0 };
        if begun.elapsed() > PATIENCE {
            println!("{left} messages stay in the queues of jobs");
            return;
        }
        sleep(Duration::from_millis(500)).await;
    }
}
