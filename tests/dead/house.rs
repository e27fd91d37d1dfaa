//! A broker with dead letters in it, and the program that looks after them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::broker::embedded::EmbeddedBroker;
use bulkrelease::broker::{Broker, Queue};
use bulkrelease::config::BrokerSettings;
use bulkrelease::contract::{DeadLetter, DeadReason, Message, Properties};
use jiff::Timestamp;
use lapin::options::{BasicGetOptions, BasicRejectOptions};
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::program::{Ended, Program};
use crate::support::rabbitmq::Node;
use crate::support::subscriber::{PATIENCE, depth_becomes};
use crate::support::worker::variable;

pub struct House {
    pub url: String,
    pub broker: Arc<dyn Broker>,
    directory: TempDir,
    node: Option<Arc<Node>>,
}

impl House {
    pub async fn embedded() -> Self {
        let directory = TempDir::new().expect("a directory");
        let file = directory.path().join("queue.db");
        let broker = EmbeddedBroker::open(&file).expect("a queue file");
        broker.declare().await.expect("declared");
        let url = format!("sqlite:{}", file.display());
        Self { url, broker: Arc::new(broker), directory, node: None }
    }

    pub async fn amqp() -> Self {
        let node = Node::shared().await;
        let url = node.fresh_virtual_host();
        let settings = BrokerSettings { url: Some(url.clone()), ..BrokerSettings::default() };
        let broker = AmqpBroker::new(&settings).expect("a URL of the node's own");
        broker.declare().await.expect("declared");
        let directory = TempDir::new().expect("a directory");
        Self { url, broker: Arc::new(broker), directory, node: Some(node) }
    }

    /// Has the one job come back as crashes would, once more than the delivery limit allows. RabbitMQ 4.3 counts what is
    /// rejected or lost, and not what is given back.
    pub async fn wear_out(&self, limit: usize) {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await.expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        let (begun, mut times) = (Instant::now(), 0);
        while times <= limit {
            assert!(begun.elapsed() < PATIENCE, "it came back {times} times");
            let got = channel.basic_get("release.jobs".into(), BasicGetOptions::default()).await.expect("an answer");
            if let Some(message) = got {
                let requeue = BasicRejectOptions { requeue: true };
                channel.basic_reject(message.delivery_tag, requeue).await.expect("a rejection");
                times += 1;
            }
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn start(&self, arguments: &[&str], input: &str) -> Program {
        let variables = [variable("BROKER__URL", &self.url)];
        Program::start(&[&["dead"], arguments].concat(), &variables, input)
    }

    /// Runs a verb to its end, whatever that is.
    pub async fn ended(&self, arguments: &[&str], input: &str) -> Ended {
        self.start(arguments, input).ended(Duration::from_secs(180)).await
    }

    /// Runs a verb that must succeed; answers with what it printed.
    pub async fn dead(&self, arguments: &[&str]) -> String {
        let ended = self.ended(arguments, "").await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.output
    }

    /// Runs a verb that must fail and say all of these words.
    pub async fn refused(&self, arguments: &[&str], input: &str, words: &[&str]) {
        let Ended { code, errors, output } = self.ended(arguments, input).await;
        assert!(matches!(code, Some(1 | 2)), "{arguments:?} ends with {code:?}: {output}{errors}");
        for words in words {
            assert!(errors.contains(words), "{arguments:?} does not say {words:?}: {errors}");
        }
    }

    /// Runs a verb that ends with a code of its own and says all of these words, in whatever stream.
    pub async fn ends(&self, arguments: &[&str], code: i32, words: &[&str]) -> Ended {
        let ended = self.ended(arguments, "").await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        for words in words {
            assert!(ended.output.contains(words) || ended.errors.contains(words), "{words:?} is missing in {ended:?}");
        }
        ended
    }

    /// A plan file's name, for the command line.
    pub fn plan(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// Lets no more than so many letters into the dead-letter queue, or as many as want to.
    pub fn limit_dead(&self, most: Option<usize>) {
        let node = self.node.as_ref().expect("a house on RabbitMQ");
        let virtual_host = self.url.rsplit('/').next().expect("a virtual host");
        match most {
            Some(most) => {
                let limit = format!(r#"{{"max-length":{most},"overflow":"reject-publish"}}"#);
                node.control(&["set_policy", "-p", virtual_host, "limit", "^release\\.dead$", &limit]);
            }
            None => drop(node.control(&["clear_policy", "-p", virtual_host, "limit"])),
        }
    }

    pub async fn list(&self, filters: &[&str]) -> Value {
        let printed = self.dead(&[&["list", "--json"], filters].concat()).await;
        serde_json::from_str(&printed).expect("one JSON object")
    }

    /// Puts letters into the dead-letter queue, in this order.
    pub async fn deposit(&self, letters: &[Message]) {
        for letter in letters {
            assert_eq!(self.broker.deposit(vec![letter.clone()]).await, [Ok(())]);
        }
        depth_becomes(&*self.broker, Queue::Dead, letters.len() as u64).await;
    }

    /// Puts many letters beside those that are there, in any order.
    pub async fn deposit_many(&self, there: usize, count: usize, letter: impl Fn(usize) -> Message) {
        for start in (0..count).step_by(5000) {
            let some = (start..count.min(start + 5000)).map(&letter).collect();
            let answers = self.broker.deposit(some).await;
            assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
        }
        depth_becomes(&*self.broker, Queue::Dead, (there + count) as u64).await;
    }
}

/// A dead letter as a worker writes it, of so many ids, that died so many seconds ago.
pub fn letter(job: &str, ids: usize, code: &str, product: &str, ago: i64) -> Message {
    let ids: Vec<String> = (0..ids).map(|number| format!("i-{job}-{number}")).collect();
    // Not as a program would write it: bytes that a replay must keep.
    let body = format!(
        "{{ \"JobId\": \"{job}\",  \"ProductCode\":\"{product}\", \"SubscriptionType\":\"PayAsYouGo\",\n \
         \"InstanceIds\": \"{}\", \"Labels\": {{\"team\": \"{product}\"}} }}",
        ids.join(",")
    );
    let died = Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(ago)).expect("a time");
    let letter = DeadLetter {
        body: body.into_bytes(),
        reason: DeadReason::Rejected,
        class: None,
        code: Some(code.to_owned()),
        explanation: format!("The instance i-{job}-0 is not released: {code}."),
        request_id: Some("REQUEST-1".to_owned()),
        product: product.to_owned(),
        attempts: 1,
        first_failure: died,
        last_failure: died,
        worker: "worker-1".to_owned(),
    };
    letter.into_messages(&Properties { message_id: Some(job.to_owned()), ..Properties::default() }).remove(0)
}

/// A job's name in a message that is one.
pub fn job_of(message: &Message) -> String {
    message.properties.message_id.clone().expect("a name")
}
