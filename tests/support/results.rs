//! The results of jobs, read as a consumer reads them, and what every test of the whole program demands of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bulkrelease::broker::{Broker, Queue, Subscription};
use bulkrelease::contract::{JobResult, Message, Outcome};
use bulkrelease::sandbox::Ledger;

use super::orders::Order;
use super::subscriber::{PATIENCE, delivery, take};

/// A consumer of results.
pub struct Results {
    subscription: Subscription,
    by_job: BTreeMap<String, Vec<JobResult>>,
}

impl Results {
    pub fn of(broker: &dyn Broker) -> Self {
        Self { subscription: broker.subscribe(Queue::Results, 1000), by_job: BTreeMap::new() }
    }

    /// Reads on until so many jobs have a result.
    pub async fn until_jobs(&mut self, count: usize) {
        while self.by_job.len() < count {
            self.read().await;
        }
    }

    /// Reads on until so many results have come, of whatever jobs.
    pub async fn until_results(&mut self, count: usize) {
        while self.by_job.values().map(Vec::len).sum::<usize>() < count {
            self.read().await;
        }
    }

    async fn read(&mut self) {
        let delivery = delivery(&mut self.subscription).await;
        let result = parsed(&delivery.message);
        self.by_job.entry(result.job_id.as_str().to_owned()).or_default().push(result);
        self.subscription.settle(take(&delivery));
    }

    /// Stops reading; what was not read stays in the queue. Answers with every result read, by job.
    pub async fn close(self) -> BTreeMap<String, Vec<JobResult>> {
        self.subscription.close(PATIENCE).await;
        self.by_job
    }
}

/// A result as its consumer understands it.
pub fn parsed(message: &Message) -> JobResult {
    let text = || String::from_utf8_lossy(&message.body).into_owned();
    serde_json::from_slice(&message.body).unwrap_or_else(|error| panic!("no result: {error}: {}", text()))
}

/// How often each outcome stands in the first result of each job.
pub fn outcomes(results: &BTreeMap<String, Vec<JobResult>>) -> BTreeMap<Outcome, usize> {
    let mut counts = BTreeMap::new();
    for instance in results.values().flat_map(|results| &results[0].instances) {
        *counts.entry(instance.outcome).or_default() += 1;
    }
    counts
}

/// Every order has exactly one result, which lists exactly its ids, each as released.
pub fn each_order_is_released_once(orders: &[Order], results: &BTreeMap<String, Vec<JobResult>>) {
    assert_eq!(orders.len(), results.len());
    for order in orders {
        let results = &results[&order.job];
        assert_eq!(results.len(), 1, "results of {}", order.job);
        lists_the_ids_of(order, &results[0]);
        let released = results[0].instances.iter().all(|instance| instance.outcome == Outcome::Released);
        assert!(released, "{:?}", results[0]);
    }
}

/// A result speaks of each id of its order once, and of no other.
pub fn lists_the_ids_of(order: &Order, result: &JobResult) {
    let listed = result.instances.iter().map(|instance| instance.instance_id.as_str());
    assert!(listed.eq(order.ids.iter().map(String::as_str)), "{order:?}: {result:?}");
}

/// Where results and the sandbox's ledger differ: a job without a result, one that lists other ids than its job; an id
/// that is said to be released and is still there, or the other way round, or to be released by a call of the worker's
/// own that the sandbox knows nothing of; a release that nobody asked for; a call beyond the API's limits. `Unresolved`
/// alone may be said of any id: whoever judges by this bounds it. `gone_before` knows the ids that never were there.
pub fn disagreements(
    orders: &[Order],
    results: &BTreeMap<String, Vec<JobResult>>,
    ledger: &Ledger,
    gone_before: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    let released = ledger.released_ids();
    let mut asked = BTreeSet::new();
    for order in orders {
        asked.extend(order.ids.iter().map(String::as_str));
        let Some(results) = results.get(&order.job) else {
            found.push(format!("{} has no result", order.job));
            continue;
        };
        for result in results {
            let listed = result.instances.iter().map(|instance| instance.instance_id.as_str());
            if !listed.eq(order.ids.iter().map(String::as_str)) {
                found.push(format!("{} lists other ids than its job", order.job));
            }
            for instance in &result.instances {
                let id = instance.instance_id.as_str();
                let (in_ledger, gone) = (released.contains(id), released.contains(id) || gone_before(id));
                let agrees = match instance.outcome {
                    Outcome::Released if !instance.presumed => in_ledger,
                    Outcome::Released | Outcome::AlreadyGone => gone,
                    Outcome::Refused | Outcome::Rejected | Outcome::Expired | Outcome::DryRun => !gone,
                    Outcome::Unresolved => true,
                };
                if !agrees {
                    found.push(format!("{}: in the ledger = {in_ledger}, gone = {gone}, and {instance:?}", order.job));
                }
            }
        }
    }
    if results.len() > orders.len() {
        found.push(format!("{} jobs have results, {} were sent", results.len(), orders.len()));
    }
    found.extend(released.difference(&asked).map(|id| format!("{id} was released and nobody asked for it")));
    if ledger.counts.violations > 0 {
        found.push(format!("{} calls broke the API's own limits", ledger.counts.violations));
    }
    found
}

/// The sandbox was asked for each id of the orders once and released it, and was asked for no other.
pub fn each_id_was_asked_for_once(orders: &[Order], ledger: &Ledger) {
    let ids: usize = orders.iter().map(|order| order.ids.len()).sum();
    let mut asked: HashMap<&str, u64> = ledger.times_asked();
    assert_eq!(ledger.released.len(), ids);
    for id in orders.iter().flat_map(|order| &order.ids) {
        assert!(ledger.released.contains_key(id.as_str()), "{id} is not released");
        assert_eq!(asked.remove(id.as_str()), Some(1), "calls for {id}");
    }
    assert!(asked.is_empty(), "nobody asked for {asked:?}");
    assert_eq!(ledger.counts.violations, 0);
}
