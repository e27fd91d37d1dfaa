//! `bulkrelease dead` as people use it: the program itself, on both brokers.

mod changing;
mod house;
mod looking;
mod replaying;

use self::house::House;

macro_rules! on_both_brokers {
    ($($room:ident: $($test:ident)*;)*) => {
        on_both_brokers! { @ embedded, embedded, $($room: $($test)*;)* }
        on_both_brokers! { @ amqp, amqp, $($room: $($test)*;)* }
    };
    (@ $name:ident, $house:ident, $($room:ident: $($test:ident)*;)*) => {
        mod $name {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::dead::$room::$test(crate::dead::House::$house().await).await;
                }
            )*)*
        }
    };
}

on_both_brokers! {
    looking:
        letters_are_grouped_by_what_they_died_of_with_what_to_do
        every_filter_narrows_the_list
        a_letter_is_shown_whole
        every_verb_says_first_where_it_acts
        an_empty_queue_is_said_to_be_empty
        garbage_is_shown_and_upsets_nothing
        a_letter_in_parts_is_one_letter
        looking_a_hundred_times_changes_nothing
        what_somebody_else_holds_is_said_to_be_missing
        a_long_list_takes_no_more_memory_than_a_short_one;
    changing:
        what_is_exported_can_be_imported_byte_for_byte
        a_line_that_is_wrong_imports_nothing
        an_export_is_there_whole_or_not_at_all
        an_import_that_is_stopped_is_gone_on_with_and_doubles_nothing
        what_is_discarded_is_restored_until_it_is_purged
        nothing_is_changed_unless_it_is_named_and_confirmed
        a_selection_behind_more_than_the_prefetch_is_found
        exit_codes_tell_what_is_left_to_do;
    replaying:
        a_letter_becomes_its_job_again_byte_for_byte
        what_is_no_job_stays_where_it_is
        a_rate_is_kept
        a_canary_that_dies_again_stops_the_replay_and_a_retargeted_one_is_well
        a_canary_of_which_nobody_speaks_stops_the_replay
        the_rest_is_stopped_when_one_after_the_other_dies_again
        what_somebody_else_holds_is_told_and_what_somebody_else_moved_too
        two_replays_of_the_same_letters_send_each_once
        a_job_that_stopped_its_workers_is_told_apart
        a_replay_that_sent_its_last_letter_leaves_no_plan
        a_letter_that_comes_back_after_it_was_sent_is_not_sent_again
        a_killed_replay_is_gone_on_with_and_loses_nothing
        a_stopped_replay_is_gone_on_with_and_sends_everything_once
        a_repeated_replay_is_refused_while_the_first_is_unfinished;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_itself_put_aside_is_told_apart_and_can_be_replayed() {
    replaying::a_worn_out_job_is_told_apart(House::amqp().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_fails_midway_is_gone_on_with_and_doubles_nothing() {
    changing::an_import_fails_midway(House::amqp().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_the_setting_is_named() {
    let ended = crate::support::program::run(&["dead", "list"], &[], "").await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains("broker.url is not set"), "{}", ended.errors);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistyped_path_is_named_and_no_file_is_made_there() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("mistyped.db");
    let url = crate::support::worker::variable("BROKER__URL", &format!("sqlite:{}", path.display()));
    for command in [&["dead", "list"][..], &["verify", "begin", "tonight"]] {
        let ended = crate::support::program::run(command, std::slice::from_ref(&url), "").await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.errors.contains("mistyped.db does not exist: run `bulkrelease setup`"), "{}", ended.errors);
        assert!(!path.exists());
    }
}
