//! A watcher's copies of results and dead letters. It must not know which broker it is.

use bulkrelease::broker::{Broker, Destination, Queue, WatchName};
use bulkrelease::contract::Message;

use super::subscriber::{
    Subscriber, bodies, drain, enqueue, expect_depth, full, message, move_to, numbered, once_each, result_of, tally, to,
};

pub async fn a_watcher_sees_copies_and_takes_nothing(broker: &dyn Broker) {
    enqueue(broker, ["before".to_owned()]).await;
    let mut jobs = Subscriber::new(broker, Queue::Jobs, 1);
    let before = jobs.delivery().await;
    jobs.finish(before.tag, vec![result_of(&before)]);
    assert_eq!(jobs.settled().await, before.tag);

    broker.watch(watcher("one")).await.expect("a watch");
    broker.enqueue(vec![full()]).await.remove(0).expect("a job that is stored");
    let job = jobs.delivery().await;
    let publications = vec![result_of(&job), to(Destination::Dead, &message("dead")), to(Destination::Jobs, &full())];
    jobs.finish(job.tag, publications);
    assert_eq!(jobs.settled().await, job.tag);
    jobs.close().await;

    let seen = drain(broker, Queue::Watch(watcher("one")), 2).await;
    assert!(seen.iter().any(|copy| copy.message == full()), "{seen:?}");
    assert!(bodies(&seen).contains(&"dead".to_owned()), "{seen:?}");
    expect_depth(broker, Queue::Watch(watcher("one")), 0).await;
    expect_depth(broker, Queue::Results, 2).await;
    expect_depth(broker, Queue::Dead, 1).await;
}

pub async fn watchers_are_independent_and_a_watch_declared_again_keeps_what_it_has(broker: &dyn Broker) {
    for name in ["one", "two"] {
        broker.watch(watcher(name)).await.expect("a watch");
    }
    enqueue(broker, numbered(5)).await;
    let mut jobs = Subscriber::new(broker, Queue::Jobs, 5);
    for job in jobs.deliveries(5).await {
        jobs.finish(job.tag, vec![result_of(&job)]);
    }
    jobs.close().await;
    assert_eq!(tally(&drain(broker, Queue::Watch(watcher("one")), 5).await), once_each(5));
    broker.watch(watcher("two")).await.expect("the same watch");
    assert_eq!(tally(&drain(broker, Queue::Watch(watcher("two")), 5).await), once_each(5));
    expect_depth(broker, Queue::Results, 5).await;
}

pub async fn an_ended_watch_is_empty_and_gets_nothing_more(broker: &dyn Broker) {
    broker.unwatch(watcher("one")).await.expect("nothing to end");
    broker.watch(watcher("one")).await.expect("a watch");
    enqueue(broker, numbered(2)).await;
    let mut jobs = Subscriber::new(broker, Queue::Jobs, 1);
    let first = jobs.delivery().await;
    jobs.finish(first.tag, vec![result_of(&first)]);
    assert_eq!(jobs.settled().await, first.tag);
    broker.unwatch(watcher("one")).await.expect("its end");
    let second = jobs.delivery().await;
    jobs.finish(second.tag, vec![result_of(&second)]);
    assert_eq!(jobs.settled().await, second.tag);
    broker.watch(watcher("one")).await.expect("a new one");
    expect_depth(broker, Queue::Watch(watcher("one")), 0).await;
    expect_depth(broker, Queue::Results, 2).await;
}

pub async fn what_is_put_back_is_in_the_dead_letters_and_no_news_to_watchers(broker: &dyn Broker) {
    broker.watch(watcher("one")).await.expect("a watch");
    assert_eq!(broker.deposit(vec![full(), Message::default()]).await, [Ok(()), Ok(())]);
    let letters: Vec<Message> =
        drain(broker, Queue::Dead, 2).await.into_iter().map(|delivery| delivery.message).collect();
    assert!(letters.contains(&full()) && letters.contains(&Message::default()), "{letters:?}");
    expect_depth(broker, Queue::Watch(watcher("one")), 0).await;

    enqueue(broker, ["restored".to_owned()]).await;
    let mut jobs = Subscriber::new(broker, Queue::Jobs, 1);
    move_to(&mut jobs, Destination::DeadAgain).await;
    jobs.close().await;
    assert_eq!(bodies(&drain(broker, Queue::Dead, 1).await), ["restored"]);
    expect_depth(broker, Queue::Watch(watcher("one")), 0).await;
}

fn watcher(name: &str) -> WatchName {
    WatchName::new(name).expect("a name")
}
