//! Holds every broker to one suite: what a worker, a producer and an operator rely on, whichever broker they use.
//!
//! A broker joins with one line: `held_to_the_suite!(name, fresh)`, where `fresh` is an async fn that answers a `Fresh`
//! with empty, declared queues.

mod delivering;
mod fleet;
mod looking;
mod settling;
pub mod subscriber;
mod waiting;
mod watching;

use std::any::Any;
use std::sync::Arc;

use bulkrelease::broker::Broker;
use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::broker::embedded::EmbeddedBroker;
use bulkrelease::config::BrokerSettings;

use crate::support::rabbitmq::Node;

/// A broker with empty, declared queues.
struct Fresh {
    broker: Arc<dyn Broker>,
    /// What must live as long as the broker: a directory, a server.
    _keep: Box<dyn Any>,
}

macro_rules! held_to_the_suite {
    ($name:ident, $fresh:path) => {
        held_to_the_suite! { $name, $fresh:
            delivering:
                messages_come_in_the_order_of_enqueueing
                a_message_arrives_as_it_was_sent
                a_delivery_given_back_comes_again_marked
                no_more_is_held_than_the_prefetch
                more_than_the_prefetch_is_held_where_it_is_asked_for
                an_unsettled_delivery_comes_again_after_the_end_of_its_subscription
                a_stop_counts_a_message_as_delivered_once_at_most
                two_subscribers_share_a_queue
                depth_counts_what_nobody_holds
                declaring_again_changes_nothing;
            settling:
                a_finished_delivery_is_gone_and_its_publications_are_there
                settling_twice_or_by_a_void_tag_does_nothing
                a_stopped_subscription_still_settles
                closing_carries_out_every_order
                ten_thousand_jobs_give_one_result_each
                a_copy_goes_to_reply_to
                a_slow_subscriber_delays_no_settlement
                a_dead_letter_is_moved_to_the_jobs_or_the_archive_as_it_is;
            waiting:
                what_goes_to_a_retry_step_comes_back_to_the_jobs_after_its_delay
                a_short_delay_is_not_held_up_by_a_long_one
                what_waits_outlives_its_subscription_and_is_counted_where_it_waits;
            watching:
                a_watcher_sees_copies_and_takes_nothing
                watchers_are_independent_and_a_watch_declared_again_keeps_what_it_has
                an_ended_watch_is_empty_and_gets_nothing_more
                what_is_put_back_is_in_the_dead_letters_and_no_news_to_watchers;
            looking:
                a_look_takes_nothing_and_changes_no_order_however_often
                a_look_can_be_closed_in_the_middle
                a_look_says_when_others_hold_something;
            fleet:
                every_worker_hears_every_beacon_its_own_included
                whoever_comes_first_hears_that_nobody_else_is_there
                of_workers_that_come_together_one_at_most_hears_that_nobody_else_is_there
                what_was_told_last_is_heard_though_its_sender_leaves;
        }
    };
    ($name:ident, $fresh:path: $($subject:ident: $($test:ident)*;)*) => {
        mod $name {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let fresh = $fresh().await;
                    crate::conformance::$subject::$test(fresh.broker.as_ref()).await;
                }
            )*)*
        }
    };
}

held_to_the_suite!(embedded, crate::conformance::fresh_embedded_broker);
held_to_the_suite!(amqp, crate::conformance::fresh_amqp_broker);

async fn fresh_embedded_broker() -> Fresh {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = EmbeddedBroker::open(&directory.path().join("queue.db")).expect("an empty queue file");
    broker.declare().await.expect("declared");
    Fresh { broker: Arc::new(broker), _keep: Box::new(directory) }
}

async fn fresh_amqp_broker() -> Fresh {
    let node = Node::shared().await;
    let url = node.fresh_virtual_host();
    let settings = BrokerSettings { url: Some(url), ..BrokerSettings::default() };
    let broker = AmqpBroker::new(&settings).expect("a URL of the node's own").with_steps(&waiting::STEPS);
    broker.declare().await.expect("declared");
    Fresh { broker: Arc::new(broker), _keep: Box::new(node) }
}
