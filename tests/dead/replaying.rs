//! Replay and retarget: letters that become jobs again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bulkrelease::broker::{Broker, Destination, Publication, Queue, Settlement};
use bulkrelease::contract::{Message, Properties, header};
use bulkrelease::sandbox::{Sandbox, SandboxSettings};
use tokio::time::sleep;

use super::house::{House, job_of, letter};
use crate::support::program::Program;
use crate::support::results::Results;
use crate::support::subscriber::{PATIENCE, deliveries, delivery, depth_becomes, enqueue, take};
use crate::support::worker::{Worker, WorkerSettings};

/// Letters that a crash may send twice: what is sent and not confirmed.
const UNDER_WAY: usize = 100;

pub async fn a_letter_becomes_its_job_again_byte_for_byte(house: House) {
    let mut dead = letter("a", 250, "Locked", "ecs", 60);
    dead.properties.correlation_id = Some("order".to_owned());
    dead.properties.reply_to = Some("answers".to_owned());
    dead.properties.headers.insert(header::TRACEPARENT.to_owned(), "00-ab".to_owned());
    house.deposit(&[dead.clone(), letter("b", 1, "InvalidOwner", "ecs", 60)]).await;
    let printed = house.dead(&["replay", "--code", "Locked", "--yes", "--no-canary"]).await;
    for words in
        ["1 letters with 250 ids are to be jobs again", "account default: at least 3 calls", "1 letters are jobs again"]
    {
        assert!(printed.contains(words), "{words:?} is missing in:\n{printed}");
    }
    depth_becomes(&*house.broker, Queue::Dead, 1).await;
    let mut jobs = house.broker.subscribe(Queue::Jobs, 10);
    let job = delivery(&mut jobs).await.message;
    assert_eq!(job.body, dead.body);
    let headers = [(header::TRACEPARENT, "00-ab"), (header::REPLAY, "1")];
    let expected = Properties {
        kind: Some("release.job.v1".to_owned()),
        timestamp: job.properties.timestamp,
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..dead.properties
    };
    assert_eq!(job.properties, expected);

    // What no worker could read goes out under the type that it came with.
    let mut unread = letter("c", 1, "Malformed", "ecs", 60);
    unread.properties.headers.insert(header::TYPE.to_owned(), "order.release".to_owned());
    house.deposit_many(1, 1, |_| unread.clone()).await;
    house.dead(&["replay", "--code", "Malformed", "--yes", "--no-canary"]).await;
    let job = delivery(&mut jobs).await.message;
    assert_eq!((job.body, job.properties.kind.as_deref()), (unread.body, Some("order.release")));
}

pub async fn what_is_no_job_stays_where_it_is(house: House) {
    let garbage = Message { body: b"garbage".to_vec(), ..Message::default() };
    house.deposit(&[garbage, letter("a", 1, "Locked", "ecs", 60)]).await;
    let printed = house.dead(&["replay", "--all", "--yes", "--no-canary"]).await;
    assert!(printed.contains("1 chosen letters are no jobs"), "{printed}");
    depth_becomes(&*house.broker, Queue::Jobs, 1).await;
    assert_eq!(house.list(&[]).await["Groups"][0]["Reason"], "Foreign");
}

pub async fn a_rate_is_kept(house: House) {
    let letters: Vec<Message> = (0..11).map(|n| letter(&format!("j{n}"), 1, "Locked", "ecs", 60)).collect();
    house.deposit(&letters).await;
    let begun = Instant::now();
    house.dead(&["replay", "--all", "--yes", "--no-canary", "--rate", "5"]).await;
    // Ten pauses of 200 ms. Only the lower bound: above it, this machine may be to blame.
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
    depth_becomes(&*house.broker, Queue::Jobs, 11).await;
    house.refused(&["replay", "--all", "--rate", "0"], "", &["is no rate"]).await;
}

/// The worker knows no account of that name, until the jobs name another one.
pub async fn a_canary_that_dies_again_stops_the_replay_and_a_retargeted_one_is_well(house: House) {
    const JOBS: usize = 30;
    let sandbox = Sandbox::start(SandboxSettings::default()).await.expect("a sandbox");
    let _worker = Worker::start(&WorkerSettings::new(&house.url, &sandbox, 200.0)).await;
    let jobs = (0..JOBS).map(|number| {
        let body = format!(
            r#"{{"JobId":"j{number}","ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-{number}"],"Account":"elsewhere"}}"#
        );
        Message { body: body.into_bytes(), ..Message::default() }
    });
    enqueue(&*house.broker, jobs.collect()).await;
    depth_becomes(&*house.broker, Queue::Dead, JOBS as u64).await;
    depth_becomes(&*house.broker, Queue::Results, JOBS as u64).await;

    let plan = house.path("first.plan");
    let plan = plan.to_str().expect("a path in UTF-8");
    let replay = ["replay", "--code", "UnknownAccount", "--yes", "--plan", plan];
    let words = ["stopped by the canary", "died again, of the same thing", "29 letters are left", "--resume", plan];
    house.ends(&replay, 5, &words).await;
    depth_becomes(&*house.broker, Queue::Dead, JOBS as u64).await;
    assert_eq!(house.list(&[]).await["Groups"].as_array().map(Vec::len), Some(1), "they died of one thing");
    std::fs::remove_file(plan).expect("a plan that is forgotten");

    let retarget = ["retarget", "--account", "default", "--all", "--yes"];
    let printed = house.dead(&retarget).await;
    assert!(printed.contains("30 letters are jobs again"), "{printed}");
    let mut results = Results::of(&*house.broker);
    results.until_results(JOBS * 2 + 1).await;
    let released = results.close().await.into_values().flatten().filter(|result| result.counts.released == 1).count();
    assert_eq!(released, JOBS);
    depth_becomes(&*house.broker, Queue::Dead, 0).await;
    assert!(house.ended(&["retarget", "--account", "Not A Name", "--all"], "").await.errors.contains("account name"));
}

pub async fn a_canary_of_which_nobody_speaks_stops_the_replay(house: House) {
    let letters: Vec<Message> = (0..3).map(|n| letter(&format!("j{n}"), 1, "Locked", "ecs", 60)).collect();
    house.deposit(&letters).await;
    let plan = house.path("silent.plan");
    let plan = plan.to_str().expect("a path in UTF-8");
    let replay = ["replay", "--all", "--yes", "--canary-wait", "1s", "--plan", plan];
    house.ends(&replay, 5, &["no word of 1 letters", "does a worker run", "2 letters are left"]).await;
    depth_becomes(&*house.broker, Queue::Jobs, 1).await;

    // A worker that put it off is another thing than none.
    let mut jobs = house.broker.subscribe(Queue::Jobs, 1);
    let job = delivery(&mut jobs).await;
    let to = Destination::Retry { after: Duration::from_secs(60) };
    let publications = vec![Publication { to, message: job.message }];
    jobs.settle(Settlement::Finish { tag: job.tag, publications });
    jobs.close(PATIENCE).await;
    let again = ["replay", "--resume", plan, "--canary-wait", "1s"];
    house.ends(&again, 5, &["no word of 1 letters", "1 jobs wait in retry queues", "1 letters are left"]).await;
    depth_becomes(&*house.broker, Queue::Jobs, 1).await;
    let printed = house.dead(&["replay", "--resume", plan, "--no-canary"]).await;
    assert!(printed.contains("1 of 3 letters are left") && printed.contains("1 letters are jobs again"), "{printed}");
    depth_becomes(&*house.broker, Queue::Jobs, 2).await;
    depth_becomes(&*house.broker, Queue::Dead, 0).await;
}

/// One letter, of which nobody speaks, and then one that stopped for another reason: nothing is left to go on with.
pub async fn a_replay_that_sent_its_last_letter_leaves_no_plan(house: House) {
    let plan = house.plan("last.plan");
    house.deposit(&[letter("a", 1, "Locked", "ecs", 60)]).await;
    let replay = ["replay", "--all", "--yes", "--canary-wait", "1s", "--plan", &plan];
    house.ends(&replay, 5, &["no word of 1 letters", "All letters were sent"]).await;
    assert!(!std::path::Path::new(&plan).exists(), "it is carried out");

    house.deposit(&[letter("b", 1, "Locked", "ecs", 60)]).await;
    let mut program = house.start(&["replay", "--all", "--yes", "--plan", &plan], "");
    depth_becomes(&*house.broker, Queue::Jobs, 2).await;
    program.terminate();
    let ended = program.ended(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.errors.contains("stopping: ") && ended.output.contains("nothing is left"), "{ended:?}");
    assert!(!std::path::Path::new(&plan).exists(), "it is carried out");
}

/// As a crash between confirm and acknowledgement leaves it: its job is under way, and the letter comes back.
pub async fn a_letter_that_comes_back_after_it_was_sent_is_not_sent_again(house: House) {
    let letters: Vec<Message> = (0..3).map(|n| letter(&format!("j{n}"), 1, "Locked", "ecs", 60)).collect();
    for (count, left) in [(1, 0), (3, 2)] {
        house.deposit(&letters[..count]).await;
        let plan = house.plan("returned.plan");
        if left == 0 {
            killed_when_it_moved(&house, &plan).await;
        } else {
            let replay = ["replay", "--all", "--yes", "--canary-wait", "1s", "--plan", &plan];
            let words = ["1 letters are jobs again", "2 letters are left", "--canary-wait 1s"];
            house.ends(&replay, 5, &words).await;
        }
        house.deposit_many(left, 1, |_| letters[0].clone()).await;
        // Whatever a process held that is gone was handed out before.
        let mut somebody = house.broker.subscribe(Queue::Dead, 10);
        deliveries(&mut somebody, count).await;
        somebody.close(PATIENCE).await;
        depth_becomes(&*house.broker, Queue::Dead, count as u64).await;
        house.dead(&["replay", "--resume", &plan, "--no-canary"]).await;
        depth_becomes(&*house.broker, Queue::Dead, 0).await;
        let times = sent(&house, count).await;
        assert!(times.len() == count && times.values().all(|times| *times == 1), "{times:?}");
    }
}

pub async fn a_killed_replay_is_gone_on_with_and_loses_nothing(house: House) {
    const LETTERS: usize = 1500;
    let plan = house.path("killed.plan");
    let plan = plan.to_str().expect("a path in UTF-8");
    let mut program = begun(&house, LETTERS, plan).await;
    program.kill();
    let ended = house.ended(&["replay", "--resume", plan], "").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!std::path::Path::new(plan).exists(), "it is carried out");
    depth_becomes(&*house.broker, Queue::Dead, 0).await;
    let times = sent(&house, LETTERS).await;
    assert_eq!(times.len(), LETTERS, "every letter");
    let twice = times.values().filter(|times| **times > 1).count();
    println!("{}: {twice} of {LETTERS} were sent twice", house.url);
    assert!(twice <= UNDER_WAY && times.values().all(|times| *times <= 2), "{twice} were sent twice");
}

pub async fn a_stopped_replay_is_gone_on_with_and_sends_everything_once(house: House) {
    const LETTERS: usize = 1500;
    let plan = house.path("stopped.plan");
    let plan = plan.to_str().expect("a path in UTF-8");
    let mut program = begun(&house, LETTERS, plan).await;
    program.terminate();
    let ended = program.ended(PATIENCE).await;
    assert_eq!(ended.code, Some(6), "{ended:?}");
    assert!(ended.errors.contains("stopped: ") && ended.errors.contains("--resume"), "{}", ended.errors);
    // The terminal is gone.
    let mut program = house.start(&["replay", "--resume", plan, "--rate", "300"], "");
    let begun = Instant::now();
    let there = house.broker.depth(Queue::Jobs).await.expect("a depth");
    while house.broker.depth(Queue::Jobs).await.expect("a depth") == there {
        assert!(program.runs() && begun.elapsed() < PATIENCE, "{}", program.errors());
        sleep(Duration::from_millis(5)).await;
    }
    program.reload();
    let ended = program.ended(PATIENCE).await;
    assert_eq!(ended.code, Some(6), "{ended:?}");

    let ended = house.ended(&["replay", "--resume", plan], "").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.output.contains("twice"), "nothing is in doubt: {}", ended.output);
    let times = sent(&house, LETTERS).await;
    assert!(times.len() == LETTERS && times.values().all(|times| *times == 1));
    depth_becomes(&*house.broker, Queue::Dead, 0).await;
}

pub async fn a_repeated_replay_is_refused_while_the_first_is_unfinished(house: House) {
    let plan = house.path("twice.plan");
    let plan = plan.to_str().expect("a path in UTF-8");
    let mut program = begun(&house, 500, plan).await;
    let in_use = ["is being carried out by another process"];
    house.refused(&["replay", "--all", "--yes", "--plan", plan], "", &in_use).await;
    house.refused(&["replay", "--resume", plan], "", &in_use).await;
    program.terminate();
    program.ended(PATIENCE).await;
    house.refused(&["replay", "--all", "--yes", "--plan", plan], "", &["an unfinished replay is in", "--resume"]).await;
    let elsewhere = std::fs::read_to_string(plan).expect("a file").replacen("\"Broker\":\"", "\"Broker\":\"other-", 1);
    let other = house.path("other.plan");
    std::fs::write(&other, elsewhere).expect("a file");
    house
        .refused(&["replay", "--resume", other.to_str().expect("a path in UTF-8")], "", &["the plan is for other-"])
        .await;
    house.refused(&["replay", "--resume", "/no/such/plan"], "", &["there is no plan /no/such/plan"]).await;
    let nowhere = ["replay", "--all", "--yes", "--plan", "/no/such/folder/a.plan"];
    house.refused(&nowhere, "", &["--plan FILE names another place", "/no/such/folder/a.plan"]).await;
    house.refused(&["replay", "--resume", plan, "--all"], "", &["cannot be used with"]).await;
}

/// The first letters are well: only the others name an account that no worker knows.
pub async fn the_rest_is_stopped_when_one_after_the_other_dies_again(house: House) {
    const LETTERS: usize = 400;
    let sandbox = Sandbox::start(SandboxSettings::default()).await.expect("a sandbox");
    let _worker = Worker::start(&WorkerSettings::new(&house.url, &sandbox, 200.0)).await;
    let letters: Vec<Message> = (0..LETTERS)
        .map(|n| {
            let mut letter = letter(&format!("j{n}"), 1, "UnknownAccount", "ecs", 60);
            if n >= 11 {
                letter.body = String::from_utf8(letter.body)
                    .expect("text")
                    .replacen('{', "{\"Account\":\"elsewhere\",", 1)
                    .into();
            }
            letter
        })
        .collect();
    house.deposit(&letters).await;
    let plan = house.plan("rest.plan");
    let replay = ["replay", "--all", "--yes", "--plan", &plan, "--rate", "40"];
    let ended = house.ends(&replay, 5, &["stopped by the canary: 11 of the last", "UnknownAccount", "--resume"]).await;
    let left = ended.errors.split_once(" letters are left").expect("what is left").0;
    let left: usize = left.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("a number");
    // How soon word comes is the machine's affair; that it comes long before the end is not.
    assert!((1..LETTERS - 21).contains(&left), "{left} letters are left");
    depth_becomes(&*house.broker, Queue::Dead, (LETTERS - 11) as u64).await;
    // What is gone on with begins with one letter, at the rate that it had.
    let on = format!("go on with: bulkrelease dead replay --resume {plan} --rate 40");
    assert!(ended.errors.contains(&on), "{}", ended.errors);
    let words = ["stopped by the canary: 1 of the last 1 letters", "1 letters are jobs again"];
    house.ends(&["replay", "--resume", &plan, "--rate", "40"], 5, &words).await;
}

/// New letters come all the time meanwhile, and are no sign of the old ones.
pub async fn what_somebody_else_holds_is_told_and_what_somebody_else_moved_too(house: House) {
    let letters: Vec<Message> = (0..4).map(|n| letter(&format!("j{n}"), 1, "Locked", "ecs", 60)).collect();
    house.deposit(&letters).await;
    let plan = house.plan("shared.plan");
    let replay = ["replay", "--all", "--yes", "--canary-wait", "1s", "--plan", &plan];
    house.ends(&replay, 5, &["3 letters are left"]).await;

    let mut somebody = house.broker.subscribe(Queue::Dead, 1);
    let held = deliveries(&mut somebody, 1).await;
    depth_becomes(&*house.broker, Queue::Dead, 2).await;
    let resume = ["replay", "--resume", &plan, "--no-canary", "--wait", "2s"];
    let words = ["2 letters are jobs again", "1 letters are held by another", "--resume"];
    house.ends(&resume, 4, &words).await;
    somebody.settle(take(&held[0]));
    somebody.close(PATIENCE).await;
    depth_becomes(&*house.broker, Queue::Dead, 0).await;

    let broker = std::sync::Arc::clone(&house.broker);
    let incident = tokio::spawn(async move {
        for number in 0.. {
            let answers = broker.deposit(vec![letter(&format!("new{number}"), 1, "Locked", "ecs", -5)]).await;
            assert_eq!(answers, [Ok(())]);
            sleep(Duration::from_millis(200)).await;
        }
    });
    let words = ["0 letters are jobs again", "1 letters are in the queue no more: somebody else moved them"];
    house.ends(&resume, 4, &words).await;
    incident.abort();
    let times = sent(&house, 3).await;
    assert!(times.len() == 3 && times.values().all(|times| *times == 1), "{times:?}");
}

pub async fn two_replays_of_the_same_letters_send_each_once(house: House) {
    const LETTERS: usize = 2500;
    let mut first = begun(&house, LETTERS, &house.plan("first.plan")).await;
    let plan = house.plan("second.plan");
    let replay = ["replay", "--all", "--yes", "--no-canary", "--wait", "2s", "--plan", &plan];
    let second = house.ended(&replay, "").await;
    // What the first one held was not seen by the second; what the second one sent is missing from the first one's plan.
    assert!(second.code == Some(4) && second.errors.contains("others read this queue"), "{second:?}");
    let first = first.ended(PATIENCE).await;
    assert!(matches!(first.code, Some(0 | 4)), "{first:?}");
    depth_becomes(&*house.broker, Queue::Dead, 0).await;
    let times = sent(&house, LETTERS).await;
    assert!(times.len() == LETTERS && times.values().all(|times| *times == 1));
}

/// Its worker gives it up well below the broker's own limit.
pub async fn a_job_that_stopped_its_workers_is_told_apart(house: House) {
    let job = Message { body: letter("a", 2, "x", "ecs", 0).body, ..Message::default() };
    enqueue(&*house.broker, vec![job]).await;
    let mut subscription = house.broker.subscribe(Queue::Jobs, 1);
    for _ in 0..3 {
        let tag = delivery(&mut subscription).await.tag;
        subscription.settle(Settlement::GiveBack { tag });
    }
    subscription.close(PATIENCE).await;
    let sandbox = Sandbox::start(SandboxSettings::default()).await.expect("a sandbox");
    let settings = WorkerSettings::new(&house.url, &sandbox, 10.0).with("WORKER__MAX_DELIVERIES", "3");
    let _worker = Worker::start(&settings).await;
    depth_becomes(&*house.broker, Queue::Dead, 1).await;
    let group = &house.list(&["--reason", "DeliveredTooOften"]).await["Groups"][0];
    assert_eq!((group["Ids"].as_u64(), group["ExampleJob"].as_str()), (Some(2), Some("a")));
    assert!(group["Action"].as_str().expect("text").contains("crash"), "{group}");
}

/// RabbitMQ moved it to the dead letters itself, without a word of ours.
pub async fn a_worn_out_job_is_told_apart(house: House) {
    let job = Message { body: letter("a", 2, "x", "ecs", 0).body, ..Message::default() };
    enqueue(&*house.broker, vec![job.clone()]).await;
    house.wear_out(100).await;
    depth_becomes(&*house.broker, Queue::Dead, 1).await;
    // In the archive and in a file it is told apart as well; it died just now, by the broker's own clock.
    house.dead(&["discard", "--reason", "BrokerDeliveryLimit", "--yes"]).await;
    assert_eq!(house.list(&["--archive", "--newer-than", "1h"]).await["Letters"].as_u64(), Some(1));
    house.dead(&["restore", "--reason", "BrokerDeliveryLimit", "--yes"]).await;
    depth_becomes(&*house.broker, Queue::Dead, 1).await;
    let worn_out = ["--reason", "BrokerDeliveryLimit", "--newer-than", "1h"];
    let group = &house.list(&worn_out).await["Groups"][0];
    assert_eq!((group["Ids"].as_u64(), group["ExampleJob"].as_str()), (Some(2), Some("a")));
    assert!(group["Action"].as_str().expect("text").contains("crash"), "{group}");

    house.dead(&["replay", "--reason", "BrokerDeliveryLimit", "--yes", "--no-canary"]).await;
    let mut jobs = house.broker.subscribe(Queue::Jobs, 1);
    let again = delivery(&mut jobs).await;
    assert!(again.message.body == job.body && !again.redelivered);
    let headers = [(header::REPLAY, "1"), (header::WORN_OUT, "true")];
    assert_eq!(
        again.message.properties.headers,
        headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    );
}

/// A replay of so many letters that is well under way, and slow enough not to be done soon.
async fn begun(house: &House, letters: usize, plan: &str) -> Program {
    house.deposit_many(0, letters, |n| letter(&format!("j{n}"), 1, "Locked", "ecs", 60)).await;
    let rate = (letters / 4).to_string();
    let replay = ["replay", "--all", "--yes", "--no-canary", "--rate", &rate, "--plan", plan];
    let mut program = house.start(&replay, "");
    let begun = Instant::now();
    while house.broker.depth(Queue::Jobs).await.expect("a depth") < 150 {
        assert!(program.runs() && begun.elapsed() < PATIENCE, "{}", program.errors());
        sleep(Duration::from_millis(5)).await;
    }
    program
}

/// A replay of one letter, ended while it waits for word of it.
async fn killed_when_it_moved(house: &House, plan: &str) {
    let mut program = house.start(&["replay", "--all", "--yes", "--plan", plan], "");
    let begun = Instant::now();
    while !std::fs::read_to_string(plan).is_ok_and(|written| written.contains("\nmoved ")) {
        assert!(program.runs() && begun.elapsed() < PATIENCE, "{}", program.errors());
        sleep(Duration::from_millis(5)).await;
    }
    program.kill();
}

/// How often each job is in the queue.
async fn sent(house: &House, least: usize) -> BTreeMap<String, usize> {
    let count = all_jobs(&*house.broker, least).await;
    let mut jobs = house.broker.subscribe(Queue::Jobs, 1000);
    let mut times = BTreeMap::new();
    for _ in 0..count {
        let delivery = deliveries(&mut jobs, 1).await.remove(0);
        *times.entry(job_of(&delivery.message)).or_default() += 1;
        jobs.settle(take(&delivery));
    }
    jobs.close(PATIENCE).await;
    depth_becomes(&*house.broker, Queue::Jobs, 0).await;
    times
}

/// The number of jobs in their queue.
async fn all_jobs(broker: &dyn Broker, least: usize) -> usize {
    let mut look = broker.look(Queue::Jobs).await.expect("a look");
    let mut count = 0;
    while let Some(message) = look.next().await {
        message.expect("a message");
        count += 1;
    }
    assert!(count >= least, "{count} jobs");
    count
}
