//! Verbs that move letters, but release nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use bulkrelease::broker::Queue;
use bulkrelease::contract::{Message, header};
use tokio::time::sleep;

use super::house::{House, job_of, letter};
use crate::support::subscriber::{deliveries, depth_becomes, drain};

pub async fn what_is_exported_can_be_imported_byte_for_byte(house: House) {
    let mut odd = Message { body: vec![0xff, 0, b'\n'], ..Message::default() };
    odd.properties.correlation_id = Some("order \u{1f680}".to_owned());
    odd.properties.reply_to = Some("answers".to_owned());
    odd.properties.headers.insert(header::TRACEPARENT.to_owned(), "00-ab".to_owned());
    let letters = [letter("a", 2, "Locked", "ecs", 60), odd, Message::default()];
    house.deposit(&letters).await;

    let file = house.path("letters.jsonl");
    let path = file.to_str().expect("a path in UTF-8");
    house.dead(&["export", "--to", path]).await;
    assert_eq!(std::fs::read_to_string(&file).expect("a file").lines().count(), 3);
    house.refused(&["export", "--to", path], "", &["letters.jsonl"]).await;
    assert_eq!(house.dead(&["export", "--job", "a"]).await.lines().count(), 1);

    drain(&*house.broker, Queue::Dead, 3).await;
    assert_eq!(house.dead(&["import", path]).await, "3 letters imported into release.dead\n");
    let mut subscription = house.broker.subscribe(Queue::Dead, 10);
    let mut back: Vec<Message> =
        deliveries(&mut subscription, 3).await.into_iter().map(|delivery| delivery.message).collect();
    for letter in &mut back {
        // All that differs: no earlier replay can have had this number.
        let number = letter.properties.headers.remove(header::REPLAY).expect("a number");
        assert!(number.parse::<u32>().is_ok_and(|number| number > 1_700_000_000), "{number}");
    }
    for letter in &letters {
        assert!(back.contains(letter), "{letter:?} is not among {back:?}");
    }
}

/// The queue takes a part of the letters. Some are imported at once, so that it is not the first ones.
pub async fn an_import_fails_midway(house: House) {
    const LETTERS: usize = 1500;
    let letters: Vec<Message> = (0..LETTERS).map(|n| letter(&format!("j{n}"), 1, "Locked", "ecs", 60)).collect();
    house.deposit_many(0, LETTERS, |n| letters[n].clone()).await;
    let file = house.plan("letters.jsonl");
    house.dead(&["export", "--to", &file]).await;
    drain(&*house.broker, Queue::Dead, LETTERS).await;

    house.limit_dead(Some(200));
    let left = house.plan("letters.jsonl.left");
    let words = ["1500 letters are imported", "refused to store", &left, "import that to go on"];
    let ended = house.ends(&["import", &file], 1, &words).await;
    let imported = ended.errors.split_once(" of 1500").and_then(|(words, _)| words.rsplit(' ').next()?.parse().ok());
    let imported: u64 = imported.expect("a number");
    depth_becomes(&*house.broker, Queue::Dead, imported).await;
    let lines = std::fs::read_to_string(&left).expect("what is left").lines().count();
    assert_eq!(lines as u64 + imported, LETTERS as u64);
    // What is left is not written over, nor forgotten.
    house.ends(&["import", &file], 1, &[&left, "import that first", "nothing was imported"]).await;
    house.limit_dead(None);
    house.dead(&["discard", "--all", "--yes"]).await;

    house.dead(&["import", &left]).await;
    depth_becomes(&*house.broker, Queue::Dead, lines as u64).await;
    let mut subscription = house.broker.subscribe(Queue::Dead, u16::MAX);
    let back: BTreeSet<String> =
        deliveries(&mut subscription, lines).await.iter().map(|delivery| job_of(&delivery.message)).collect();
    assert_eq!(back.len(), lines, "each of them once");
}

/// Killed at any moment, and whatever is wrong.
pub async fn an_export_is_there_whole_or_not_at_all(house: House) {
    const LETTERS: usize = 3000;
    house.refused(&["export", "--to", &house.plan("no/such/folder/file")], "", &["no/such/folder/file"]).await;
    house.ends(&["export", "--to", &house.plan("empty.jsonl")], 3, &["is empty"]).await;
    house.deposit_many(0, LETTERS, |n| letter(&format!("j{n}"), 20, "Locked", "ecs", 60)).await;
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(house.path("")).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| !name.starts_with("queue.db")).collect()
    };
    let file = house.plan("letters.jsonl");
    let mut program = house.start(&["export", "--to", &file], "");
    while program.runs() && names().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    program.kill();
    // However far it came, no half a file has the name.
    if house.path("letters.jsonl").exists() {
        assert_eq!(std::fs::read_to_string(&file).expect("a file").lines().count(), LETTERS);
        std::fs::remove_file(&file).expect("a file");
    }
    depth_becomes(&*house.broker, Queue::Dead, LETTERS as u64).await;
    house.dead(&["export", "--to", &file]).await;
    assert_eq!(std::fs::read_to_string(&file).expect("a file").lines().count(), LETTERS);
}

pub async fn an_import_that_is_stopped_is_gone_on_with_and_doubles_nothing(house: House) {
    const LETTERS: usize = 30_000;
    let lines: String = (0..LETTERS).map(|n| format!("{{\"MessageId\":\"j{n}\",\"Body\":\"x\"}}\n")).collect();
    let file = house.plan("letters.jsonl");
    std::fs::write(&file, lines).expect("a file");
    let program = house.start(&["import", &file], "");
    while house.broker.depth(Queue::Dead).await.expect("a depth") == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    program.terminate();
    let mut program = program;
    let ended = program.ended(crate::support::subscriber::PATIENCE).await;
    let left = house.plan("letters.jsonl.left");
    // It may have been quicker than the signal.
    if ended.code != Some(0) {
        assert!(ended.code == Some(6) && ended.errors.contains("are imported: stopped"), "{ended:?}");
        house.dead(&["import", &left]).await;
    }
    depth_becomes(&*house.broker, Queue::Dead, LETTERS as u64).await;
}

pub async fn exit_codes_tell_what_is_left_to_do(house: House) {
    let help = house.dead(&["--help"]).await;
    for line in ["3  no letter matches", "4  not all of it", "5  stopped by the canary", "6  stopped by a signal"] {
        assert!(help.contains(line), "{line:?} is missing in {help}");
    }
    house.ends(&["list", "--nonsense"], 2, &[]).await;
    house.ends(&["import", "/no/such/file"], 1, &[]).await;
    let letters: Vec<Message> = (0..5).map(|n| letter(&format!("j{n}"), 1, "Locked", "ecs", 60)).collect();
    house.deposit(&letters).await;
    house.dead(&["list", "--job", "z"]).await;
    for verb in ["replay", "discard", "export"] {
        house.ends(&[verb, "--job", "z"], 3, &["none of its 5 letters matches"]).await;
    }
    house.ends(&["purge", "--all"], 3, &["release.archive is empty"]).await;
    house.ends(&["show", "ffffffffffffff"], 3, &["no letter matches", "dead list"]).await;

    let mut somebody = house.broker.subscribe(Queue::Dead, 4);
    let held = deliveries(&mut somebody, 4).await;
    depth_becomes(&*house.broker, Queue::Dead, 1).await;
    let others = "1 others read this queue at the moment";
    let ended = house.ends(&["export"], 4, &["1 letters exported", others]).await;
    assert_eq!(ended.output.lines().count(), 1);
    house.ends(&["show"], 4, &["job j", others]).await;
    house.ends(&["replay", "--job", &job_of(&held[0].message), "--yes"], 4, &["no letter to do it with", others]).await;
    house.ends(&["discard", "--all", "--yes", "--wait", "1s"], 4, &["1 letters discarded", others]).await;
    somebody.close(crate::support::subscriber::PATIENCE).await;
    depth_becomes(&*house.broker, Queue::Dead, 4).await;
    assert!(house.dead(&["discard", "--all", "--yes"]).await.contains("4 letters discarded"));
}

pub async fn a_line_that_is_wrong_imports_nothing(house: House) {
    let good = r#"{"Body":"a"}"#;
    for (lines, words) in [
        (format!("{good}\n{{\"Body\":1}}\n{good}"), "line 2 (nothing was imported)"),
        (format!("{good}\n{good}\nnonsense"), "line 3 (nothing was imported)"),
        (r#"{"Body":"a","Bodies":"b"}"#.to_owned(), "unknown field"),
    ] {
        house.refused(&["import", "-"], &lines, &[words]).await;
    }
    house.refused(&["import", "/no/such/file"], "", &["/no/such/file"]).await;
    assert_eq!(house.broker.depth(Queue::Dead).await, Ok(0));
}

pub async fn what_is_discarded_is_restored_until_it_is_purged(house: House) {
    let letters = [letter("a", 1, "Locked", "ecs", 60), letter("b", 1, "Locked", "rds", 60)];
    house.deposit(&letters).await;
    let discarded = house.dead(&["discard", "--product", "ecs", "--yes"]).await;
    assert!(discarded.contains("1 letters discarded"), "{discarded}");
    assert_eq!(house.list(&["--archive"]).await["Groups"][0]["ExampleJob"], "a");
    assert_eq!(house.list(&[]).await["Groups"][0]["ExampleJob"], "b");

    assert!(house.dead(&["restore", "--all", "--yes"]).await.contains("1 letters restored"));
    depth_becomes(&*house.broker, Queue::Archive, 0).await;
    let mut subscription = house.broker.subscribe(Queue::Dead, 10);
    let back: Vec<Message> =
        deliveries(&mut subscription, 2).await.into_iter().map(|delivery| delivery.message).collect();
    assert!(letters.iter().all(|letter| back.contains(letter)), "as they were: {back:?}");
    subscription.close(crate::support::subscriber::PATIENCE).await;
    depth_becomes(&*house.broker, Queue::Dead, 2).await;

    house.dead(&["discard", "--all", "--yes"]).await;
    assert!(house.dead(&["purge", "--job", "a", "--yes"]).await.contains("1 letters purged"));
    assert_eq!(house.list(&["--archive"]).await["Groups"][0]["ExampleJob"], "b");
    for queue in [Queue::Dead, Queue::Jobs, Queue::Results] {
        depth_becomes(&*house.broker, queue, 0).await;
    }
}

pub async fn nothing_is_changed_unless_it_is_named_and_confirmed(house: House) {
    house.deposit(&[letter("a", 7, "Locked", "ecs", 60), letter("b", 7, "Locked", "ecs", 60)]).await;
    for verb in ["replay", "discard", "restore", "purge"] {
        house.refused(&[verb, "--yes"], "", &["which letters?", "--all"]).await;
    }
    house.refused(&["retarget", "--account", "vno", "--yes"], "", &["which letters?"]).await;
    house.refused(&["retarget", "--all"], "", &["--account"]).await;
    let retarget = ["retarget", "--account", "vno", "--all"];
    let ended = house.ended(&retarget, "").await;
    assert!(ended.errors.contains("nothing was changed"), "{ended:?}");
    assert!(ended.output.contains("account vno: at least 1 calls; these settings don't name it"), "{ended:?}");
    let elsewhere = ["--set", "accounts.other.endpoint='https://business.example.com'"];
    let words = ["the settings know no account vno", "other"];
    house.refused(&[&retarget[..], &elsewhere].concat(), "", &words).await;
    house.refused(&["discard", "--all", "--job", "a"], "", &["--all means every letter"]).await;
    for answer in ["", "y\n", "yes\n", "3\n", "13\n"] {
        house.refused(&["discard", "--all"], answer, &["nothing was changed"]).await;
        house.refused(&["replay", "--all"], answer, &["nothing was changed"]).await;
    }
    depth_becomes(&*house.broker, Queue::Dead, 2).await;
    let ended = house.ended(&["replay", "--job", "a", "--no-canary"], "7\n").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    depth_becomes(&*house.broker, Queue::Jobs, 1).await;
    let ended = house.ended(&["discard", "--all"], " 1 \n").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    depth_becomes(&*house.broker, Queue::Dead, 0).await;
}

/// The others are held meanwhile, and are there afterwards.
pub async fn a_selection_behind_more_than_the_prefetch_is_found(house: House) {
    const OTHERS: usize = 2500;
    let others: Vec<Message> = (0..OTHERS).map(|n| letter(&format!("j{n}"), 1, "Locked", "ecs", 60)).collect();
    house.deposit_many(0, OTHERS, |n| others[n].clone()).await;
    house.deposit_many(OTHERS, 3, |n| letter(&format!("wanted{n}"), 1, "InvalidOwner", "ecs", 60)).await;
    let discarded = house.dead(&["discard", "--code", "InvalidOwner", "--yes"]).await;
    assert!(discarded.contains("3 letters discarded"), "{discarded}");
    depth_becomes(&*house.broker, Queue::Archive, 3).await;
    depth_becomes(&*house.broker, Queue::Dead, OTHERS as u64).await;
    let mut subscription = house.broker.subscribe(Queue::Dead, u16::MAX);
    let left: BTreeSet<String> =
        deliveries(&mut subscription, OTHERS).await.iter().map(|delivery| job_of(&delivery.message)).collect();
    assert_eq!(left, others.iter().map(job_of).collect());
}
