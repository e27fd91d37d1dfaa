//! Virtual time: a test wakes the keeper at the moments that it names itself.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use url::Url;

use super::super::search::{Ask, Looked, Search, Source};
use super::super::{Lack, Surroundings};
use super::*;
use crate::config::CredentialSource;

const HOUR: u64 = 3600;

/// A source of temporary keys, each answer written beforehand; without one it fails.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Scripted>>);

#[derive(Default)]
struct Scripted {
    answers: VecDeque<(&'static str, Option<Duration>)>,
    port: u16,
    asked: usize,
}

impl Script {
    fn of(answers: &[(&'static str, u64)]) -> Self {
        let script = Self::default();
        answers.iter().for_each(|(id, seconds)| script.answer(id, *seconds));
        script
    }

    fn answer(&self, id: &'static str, seconds: u64) {
        self.0.lock().unwrap().answers.push_back((id, Some(Duration::from_secs(seconds))));
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }
}

impl Seek for Script {
    fn look(&self) -> Look {
        let url = Url::parse(&format!("http://host:{}", self.0.lock().unwrap().port)).unwrap();
        Look(vec![Looked { source: Source::Uri, name: "script".to_owned(), found: Ok(Found::Ask(Ask::Uri(url))) }])
    }

    async fn ask(&mut self, mut look: Look) -> Result<(Found, Fresh), CredentialError> {
        let mut script = self.0.lock().unwrap();
        script.asked += 1;
        let (id, good_for) = script.answers.pop_front().ok_or_else(|| {
            let lack = Lack { source: "script".to_owned(), problem: "has no more".to_owned() };
            CredentialError { tried: vec![lack] }
        })?;
        let credential = Credential {
            access_key_id: id.to_owned(),
            access_key_secret: "hush".into(),
            security_token: Some("hush".into()),
        };
        Ok((look.0.remove(0).found.unwrap(), Fresh { credential, good_for }))
    }
}

/// A keeper and the time it believes in.
struct Run<S> {
    keeper: Keeper<S>,
    state: watch::Receiver<State>,
    started: Instant,
    now: Instant,
    wakes_at: Instant,
}

impl<S: Seek> Run<S> {
    async fn new(seek: S) -> Self {
        let (keeper, state) = Keeper::new(seek, Arc::default());
        let started = Instant::now();
        let mut run = Self { keeper, state, started, now: started, wakes_at: started };
        run.step(true).await;
        run
    }

    async fn step(&mut self, wanted: bool) {
        self.keeper.step(wanted, self.now).await;
        self.wakes_at = self.keeper.wakes_at(self.now);
    }

    /// Wakes whenever the keeper wants to, until the time.
    async fn until(&mut self, seconds: u64) {
        let end = self.started + Duration::from_secs(seconds);
        while self.wakes_at <= end {
            self.now = self.wakes_at;
            self.step(false).await;
        }
        self.now = end;
    }

    async fn refused(&mut self) {
        self.now += LEAST_PAUSE;
        self.step(true).await;
    }

    fn id(&self) -> String {
        match &*self.state.borrow() {
            State::Searching => "searching".to_owned(),
            State::Missing(error) => error.to_string(),
            State::Holding(credential) => credential.access_key_id.clone(),
        }
    }
}

#[test]
fn a_key_is_replaced_a_quarter_of_an_hour_ahead_or_at_half_its_life_and_hourly_at_the_latest() {
    let cases = [(3600, 2700), (1800, 900), (900, 450), (2, 1), (1, 1), (0, 1), (43_200, 3600), (u64::MAX, 3600)];
    for (life, expected) in cases {
        assert_eq!(refresh_after(Duration::from_secs(life)), Duration::from_secs(expected), "{life}");
    }
}

#[tokio::test]
async fn a_temporary_key_is_refreshed_ahead_of_its_expiry() {
    let script = Script::of(&[("first", HOUR), ("second", HOUR), ("third", HOUR)]);
    let mut run = Run::new(script.clone()).await;
    run.until(2699).await;
    assert_eq!((run.id().as_str(), script.asked()), ("first", 1));
    run.until(2701).await;
    assert_eq!((run.id().as_str(), script.asked()), ("second", 2));
    run.until(2 * 2700 + 1).await;
    assert_eq!((run.id().as_str(), script.asked()), ("third", 3));
}

#[tokio::test]
async fn a_source_that_fails_is_asked_again_at_growing_intervals_while_the_present_key_stays_in_use() {
    let script = Script::of(&[("first", HOUR)]);
    let mut run = Run::new(script.clone()).await;
    // From 45 minutes on: after 1, 2, 4, 8, 16 and 32 seconds, then every minute.
    for (seconds, asked) in [(2700, 2), (2701, 3), (2703, 4), (2707, 5), (2715, 6), (2731, 7), (2763, 8), (2822, 8)] {
        run.until(seconds).await;
        assert_eq!((run.id().as_str(), script.asked()), ("first", asked), "{seconds}");
    }
    run.until(HOUR - 1).await;
    assert_eq!((run.id().as_str(), script.asked()), ("first", 21));
    // Only its end makes it unusable, to the second; a source that works again mends that.
    run.until(HOUR).await;
    assert!(run.id().contains("script: has no more"), "{}", run.id());
    script.answer("second", HOUR);
    run.until(HOUR + 60).await;
    assert_eq!(run.id(), "second");
}

#[tokio::test]
async fn a_refused_key_is_asked_for_again_at_once() {
    let script = Script::of(&[("first", HOUR), ("second", HOUR)]);
    let mut run = Run::new(script.clone()).await;
    run.refused().await;
    assert_eq!((run.id().as_str(), script.asked()), ("second", 2));
    // A source that has nothing newer takes nothing away.
    run.refused().await;
    assert_eq!(run.id(), "second");
}

#[tokio::test]
async fn a_changed_source_is_noticed_within_half_a_minute_and_an_unchanged_one_left_alone() {
    let script = Script::of(&[("first", HOUR), ("second", HOUR)]);
    let mut run = Run::new(script.clone()).await;
    run.until(60).await;
    assert_eq!((run.id().as_str(), script.asked()), ("first", 1));
    script.0.lock().unwrap().port = 1;
    run.until(90).await;
    assert_eq!((run.id().as_str(), script.asked()), ("second", 2));
}

fn home(config: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aliyun")).unwrap();
    write(&home, config);
    home
}

fn write(home: &tempfile::TempDir, config: &str) {
    std::fs::write(home.path().join(".aliyun/config.json"), config).unwrap();
}

fn search(home: &Path) -> Search {
    let variable = |name: &str| (name == "ALIBABA_CLOUD_ECS_METADATA_DISABLED").then(|| "true".to_owned());
    let surroundings =
        Surroundings { variable: Box::new(variable), home: Some(home.to_owned()), ..Surroundings::own() };
    Search::new(&CredentialSource::Default, surroundings)
}

const CONFIG: &str = r#"{"current": "a", "profiles": [
    {"name": "a", "mode": "AK", "access_key_id": "old", "access_key_secret": "hush"}]}"#;

#[tokio::test]
async fn a_key_in_a_file_is_there_at_once_and_a_rotated_one_within_half_a_minute_or_after_a_refusal() {
    let home = home(CONFIG);
    let (_keeper, state) = Keeper::new(search(home.path()), Arc::default());
    assert!(matches!(&*state.borrow(), State::Holding(key) if key.access_key_id == "old"));

    let mut run = Run::new(search(home.path())).await;
    write(&home, &CONFIG.replace("old", "new"));
    run.until(29).await;
    assert_eq!(run.id(), "old");
    run.until(30).await;
    assert_eq!(run.id(), "new");
    write(&home, &CONFIG.replace("old", "newer"));
    run.refused().await;
    assert_eq!(run.id(), "newer");
    // Only the secret may change, too.
    write(&home, &CONFIG.replace("old", "newer").replace("hush", "changed"));
    run.refused().await;
    let State::Holding(key) = run.state.borrow().clone() else { panic!("no key") };
    assert_eq!(secrecy::ExposeSecret::expose_secret(&key.access_key_secret), "changed");
}

#[tokio::test]
async fn a_file_that_is_broken_or_gone_for_a_while_takes_no_key_away() {
    let home = home(CONFIG);
    let mut run = Run::new(search(home.path())).await;
    write(&home, "{\"current");
    run.until(100).await;
    std::fs::remove_file(home.path().join(".aliyun/config.json")).unwrap();
    run.until(1000).await;
    assert_eq!(run.id(), "old");
    write(&home, &CONFIG.replace("old", "new"));
    run.until(1061).await;
    assert_eq!(run.id(), "new");
}

#[tokio::test]
async fn a_key_that_was_missing_is_found_within_a_minute_of_being_there() {
    let home = home("{}");
    let mut run = Run::new(search(home.path())).await;
    run.until(1000).await;
    assert!(run.id().contains("config.json: names no current profile"), "{}", run.id());
    write(&home, CONFIG);
    run.until(1061).await;
    assert_eq!(run.id(), "old");
}
