//! Looking: list and show.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bulkrelease::broker::Queue;
use bulkrelease::contract::{Message, header};
use tokio::time::sleep;

use super::house::{House, letter};
use crate::support::subscriber::{PATIENCE, deliveries, depth_becomes, drain};

pub async fn letters_are_grouped_by_what_they_died_of_with_what_to_do(house: House) {
    house
        .deposit(&[
            letter("a", 2, "InvalidOwner", "ecs", 7200),
            letter("b", 3, "InvalidOwner", "ecs", 60),
            letter("c", 1, "ProductNotSupported", "rds", 10),
        ])
        .await;
    let listed = house.list(&[]).await;
    assert_eq!((listed["Letters"].as_u64(), listed["Ids"].as_u64()), (Some(3), Some(6)));
    assert_eq!(listed["Complete"].as_bool(), Some(true));
    let groups = listed["Groups"].as_array().expect("an array");
    assert_eq!(groups.len(), 2);
    let first = &groups[0];
    let text = |name: &str| first[name].as_str().expect("text").to_owned();
    assert_eq!(
        (text("Code"), text("Reason"), text("Product")),
        ("InvalidOwner".into(), "Rejected".into(), "ecs".into())
    );
    assert_eq!((first["Letters"].as_u64(), first["Ids"].as_u64()), (Some(2), Some(5)));
    assert!(text("Oldest") < text("Newest"));
    assert_eq!(text("ExampleJob"), "a");

    let printed = house.dead(&["list"]).await;
    for words in ["release.dead: 3 letters, 6 ids, 2 groups", &text("Fingerprint"), "2h ago", "-> ", "retarget"] {
        assert!(printed.contains(words), "{words:?} is missing in:\n{printed}");
    }
    depth_becomes(&*house.broker, Queue::Dead, 3).await;
}

pub async fn every_filter_narrows_the_list(house: House) {
    house
        .deposit(&[
            letter("a", 1, "InvalidOwner", "ecs", 7200),
            letter("b", 1, "InvalidOwner", "rds", 60),
            letter("c", 1, "Locked", "rds", 60),
        ])
        .await;
    let fingerprint = house.list(&["--job", "b"]).await["Groups"][0]["Fingerprint"].as_str().expect("text").to_owned();
    let cases: [(&[&str], u64); 11] = [
        (&["--fingerprint", &fingerprint], 1),
        (&["--code", "InvalidOwner"], 2),
        (&["--code", "InvalidOwner", "--product", "rds"], 1),
        (&["--code", "InvalidOwner", "--code", "Locked"], 3),
        (&["--product", "slb"], 0),
        (&["--job", "a", "--job", "c"], 2),
        (&["--label", "team=rds"], 2),
        (&["--older-than", "1h"], 1),
        (&["--newer-than", "1h"], 2),
        (&["--newer-than", "1h", "--code", "Locked", "--reason", "Rejected"], 1),
        (&["--reason", "Malformed"], 0),
    ];
    for (filters, letters) in cases {
        assert_eq!(house.list(filters).await["Letters"].as_u64(), Some(letters), "{filters:?}");
    }
    assert!(house.dead(&["list", "--job", "z"]).await.contains("none of its 3 letters matches"));
}

pub async fn a_letter_is_shown_whole(house: House) {
    let letters = [letter("a", 2, "InvalidOwner", "ecs", 60), letter("b", 2, "InvalidOwner", "ecs", 60)];
    house.deposit(&letters).await;
    let listed = house.list(&["--job", "b"]).await;
    let id = listed["Groups"][0]["Example"].as_str().expect("text");
    let shown = house.dead(&["show", id]).await;
    let body = String::from_utf8(letters[1].body.clone()).expect("text");
    let whole = [body.as_str(), "bulkrelease-request-id: REQUEST-1", "job b of default/ecs/PayAsYouGo, 2 ids", id];
    for words in whole {
        assert!(shown.contains(words), "{words:?} is missing in:\n{shown}");
    }
    let fingerprint = listed["Groups"][0]["Fingerprint"].as_str().expect("text");
    let both = house.dead(&["show", fingerprint]).await;
    assert_eq!(both.matches("bulkrelease-fingerprint").count(), 2, "{both}");
    let one = house.dead(&["show", fingerprint, "--limit", "1"]).await;
    assert!(one.contains("1 more match"), "{one}");
}

/// In the wrong place one wants to know it before anything is looked at, and nobody's password.
pub async fn every_verb_says_first_where_it_acts(house: House) {
    let place = house.broker.place();
    assert!(!place.contains('@') && (place.starts_with("amqp://127.0.0.1:") || place.contains("/queue.db")), "{place}");
    house.deposit(&[letter("a", 1, "Locked", "ecs", 60)]).await;
    let verbs: [(&[&str], &str); 10] = [
        (&["list"], "release.dead"),
        (&["list", "--archive"], "release.archive"),
        (&["show"], "release.dead"),
        (&["export"], "release.dead"),
        (&["import", "-"], "release.dead"),
        (&["replay", "--all"], "release.dead -> release.jobs"),
        (&["retarget", "--all", "--account", "default"], "release.dead -> release.jobs"),
        (&["discard", "--all"], "release.dead -> release.archive"),
        (&["restore", "--all"], "release.archive -> release.dead"),
        (&["purge", "--all"], "release.archive"),
    ];
    for (verb, queues) in verbs {
        let errors = house.ended(verb, "").await.errors;
        assert!(errors.starts_with(&format!("{queues} at {place}\n")), "{verb:?}: {errors}");
    }
}

pub async fn an_empty_queue_is_said_to_be_empty(house: House) {
    assert_eq!(house.dead(&["list"]).await, "release.dead is empty\n");
    assert_eq!(house.dead(&["list", "--archive"]).await, "release.archive is empty\n");
    assert_eq!(house.list(&[]).await["Groups"].as_array().map(Vec::len), Some(0));
    for verb in ["replay", "discard", "restore", "purge"] {
        house.ends(&[verb, "--all"], 3, &["is empty"]).await;
    }
    assert_eq!(house.ends(&["export"], 3, &["release.dead is empty"]).await.output, "");
}

pub async fn garbage_is_shown_and_upsets_nothing(house: House) {
    let mut hostile = Message { body: vec![0xff, 0xfe, 0, 27], ..Message::default() };
    hostile.properties.message_id = Some("evil\u{1b}[31m\nname".to_owned());
    hostile.properties.timestamp = Some(u64::MAX);
    for (name, value) in [
        (header::PART, "7"),
        (header::PART, "1/x"),
        (header::LAST_FAILURE, "yesterday"),
        (header::REPLAY, "many"),
        (header::CODE, "\u{1b}]0;title\u{7}"),
    ] {
        hostile.properties.headers.insert(name.to_owned(), value.to_owned());
    }
    let long = Message { body: b"x".repeat(5 * 1024 * 1024), ..Message::default() };
    let letters = [Message::default(), hostile, Message { body: b"[".repeat(100_000), ..Message::default() }, long];
    house.deposit(&letters).await;
    let listed = house.list(&[]).await;
    assert_eq!((listed["Letters"].as_u64(), listed["Ids"].as_u64()), (Some(4), Some(0)));
    let foreign = listed["Groups"].as_array().expect("an array").iter().all(|group| group["Reason"] == "Foreign");
    assert!(foreign, "{listed}");
    for verb in ["list", "show"] {
        let printed = house.dead(&[verb]).await;
        assert!(!printed.contains('\u{1b}') && !printed.contains('\u{7}'), "{printed:?}");
        assert!(printed.len() < 200_000, "nobody reads so much: {} bytes", printed.len());
    }
    assert_eq!(house.dead(&["export"]).await.lines().count(), 4);
}

pub async fn a_letter_in_parts_is_one_letter(house: House) {
    let whole = letter("large", 1, "Malformed", "ecs", 60);
    let parts: Vec<Message> = (1..=3)
        .map(|number| {
            let mut part = whole.clone();
            part.properties.headers.insert(header::PART.to_owned(), format!("{number}/3"));
            part
        })
        .collect();
    house.deposit(&parts).await;
    let listed = house.list(&[]).await;
    assert_eq!((listed["Letters"].as_u64(), listed["Groups"][0]["Unreadable"].as_u64()), (Some(1), Some(1)));
    house.ends(&["replay", "--all", "--yes"], 3, &["1 chosen letters are no jobs", "none of them a letter"]).await;
    // Each part bears the id of the whole.
    let id = listed["Groups"][0]["Example"].as_str().expect("text");
    let shown = house.dead(&["show", id]).await;
    assert_eq!(shown.matches(&format!("letter {id}")).count(), 3, "{shown}");
    assert_eq!(house.dead(&["export", "--letter", id]).await.lines().count(), 3);
    house.deposit_many(3, 1, |_| letter("other", 1, "Malformed", "ecs", 60)).await;
    assert!(house.dead(&["discard", "--letter", id, "--yes"]).await.contains("3 letters discarded"), "all its parts");
    depth_becomes(&*house.broker, Queue::Archive, 3).await;
    depth_becomes(&*house.broker, Queue::Dead, 1).await;
}

pub async fn looking_a_hundred_times_changes_nothing(house: House) {
    const LETTERS: usize = 50;
    let letters: Vec<Message> = (0..LETTERS).map(|n| letter(&format!("j{n}"), 1, "Locked", "ecs", 60)).collect();
    house.deposit(&letters).await;
    for round in 0..50 {
        assert_eq!(house.list(&[]).await["Letters"].as_u64(), Some(LETTERS as u64), "round {round}");
        assert_eq!(house.dead(&["export"]).await.lines().count(), LETTERS, "round {round}");
    }
    let expected: Vec<String> = letters.iter().map(|letter| String::from_utf8_lossy(&letter.body).into()).collect();
    assert_eq!(drain(&*house.broker, Queue::Dead, LETTERS).await, expected, "all, and in their order");
}

pub async fn what_somebody_else_holds_is_said_to_be_missing(house: House) {
    let letters: Vec<Message> = (0..10).map(|n| letter(&format!("j{n}"), 1, "Locked", "ecs", 60)).collect();
    house.deposit(&letters).await;
    let mut somebody = house.broker.subscribe(Queue::Dead, 4);
    deliveries(&mut somebody, 4).await;
    depth_becomes(&*house.broker, Queue::Dead, 6).await;
    let words = ["\"Letters\":6", "\"Complete\":false", "1 others read this queue at the moment"];
    house.ends(&["list", "--json"], 4, &words).await;
    somebody.close(PATIENCE).await;
    depth_becomes(&*house.broker, Queue::Dead, 10).await;
    assert_eq!(house.list(&[]).await["Complete"].as_bool(), Some(true));
}

/// Letters of the long list: BULKRELEASE_TEST_LETTERS says how many, for a run by hand.
pub async fn a_long_list_takes_no_more_memory_than_a_short_one(house: House) {
    let usual = if house.url.starts_with("sqlite:") { 40_000 } else { 20_000 };
    let many = std::env::var("BULKRELEASE_TEST_LETTERS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    house.deposit(&[letter("first", 10, "Locked", "ecs", 60)]).await;
    let short = peak_memory(&house, 1).await;
    house.deposit_many(1, many, |n| letter(&format!("j{n}"), 10, "Locked", "ecs", 60)).await;
    let before = order(&house).await;
    let begun = std::time::Instant::now();
    let long = peak_memory(&house, many as u64 + 1).await;
    println!("{}: {many} letters in {:?}; peak {long} kB, of one letter {short} kB", house.url, begun.elapsed());
    // RabbitMQ sends a page, which is a 32nd of the queue, ahead of its reader; a letter was seen to take 7.6 kB there.
    let bound = short + 20_000 + many as u64 / 32 * 8;
    assert!(long < bound, "{long} kB for {many} letters, {short} kB for one, and {bound} kB are enough");
    assert!(order(&house).await == before, "it is another order");
}

/// A digest of all letters in their order.
async fn order(house: &House) -> u64 {
    let mut look = house.broker.look(Queue::Dead).await.expect("a look");
    let mut digest = DefaultHasher::new();
    while let Some(message) = look.next().await {
        message.expect("a message").body.hash(&mut digest);
    }
    digest.finish()
}

/// The most memory that a list of so many letters was seen to take, in kB.
async fn peak_memory(house: &House, letters: u64) -> u64 {
    let mut program = house.start(&["list", "--json"], "");
    let status = format!("/proc/{}/status", program.id());
    let mut peak = 0;
    while program.runs() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let found = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak = found.unwrap_or(0).max(peak);
        sleep(Duration::from_millis(2)).await;
    }
    let ended = program.ended(PATIENCE).await;
    assert!(ended.output.contains(&format!("\"Letters\":{letters}")), "{ended:?}");
    peak
}
