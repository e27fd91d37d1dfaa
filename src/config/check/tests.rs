//! Every rule of the settings, broken once.

use super::*;

/// Settings of one TOML text, checked.
fn broken(text: &str) -> Vec<String> {
    let settings: Settings = toml::from_str(text).unwrap();
    check(&settings).into_iter().map(|violation| format!("{} {}", violation.setting, violation.problem)).collect()
}

#[test]
fn the_defaults_break_no_rule() {
    assert_eq!(check(&Settings::default()), []);
    assert_eq!(broken("[accounts.default]"), [""; 0]);
}

#[test]
fn each_rule_names_its_setting() {
    let cases = [
        ("broker.url", "'http://host'"),
        ("broker.url", "''"),
        ("broker.url", "'amqp://'"),
        ("broker.url", "'sqlite:'"),
        ("broker.url", "'localhost'"),
        ("broker.prefetch", "0"),
        ("broker.connect_timeout", "'0s'"),
        ("broker.heartbeat", "'0s'"),
        ("broker.heartbeat", "'1h'"),
        ("worker.name", "''"),
        ("worker.linger", "'11s'"),
        ("worker.max_wait", "'151s'"),
        ("worker.overdue_share", "0"),
        ("worker.max_in_flight_calls", "0"),
        ("worker.split_budget", "0"),
        ("worker.split_budget", "1001"),
        ("worker.max_ids_per_job", "0"),
        ("worker.max_ids_per_job", "50001"),
        ("worker.max_message_bytes", "100"),
        ("worker.max_message_bytes", "20_000_000"),
        ("worker.max_pending_ids", "99"),
        ("worker.max_pending_bytes", "4_000_000"),
        ("worker.max_deliveries", "0"),
        ("worker.max_deliveries", "100"),
        ("worker.max_hold", "'21m'"),
        ("worker.drain_deadline", "'0s'"),
        ("retry.attempts_in_process", "0"),
        ("retry.attempts_in_process", "101\nretry.max_attempts = 200"),
        ("retry.max_attempts", "2"),
        ("retry.max_attempts", "1001"),
        ("retry.max_age", "'0s'"),
        ("retry.initial_interval", "'0s'"),
        ("retry.max_interval", "'499ms'"),
        ("retry.multiplier", "0.9"),
        ("retry.multiplier", "10.1"),
        ("retry.multiplier", "nan"),
        ("retry.steps", "[]"),
        ("retry.steps", "['0s', '1s']"),
        ("retry.steps", "['1m', '10s']"),
        ("retry.steps", "['10s', '10s']"),
        ("retry.steps", "['1.5ms']"),
        ("retry.steps", "['1s', '2s', '3s', '4s', '5s', '6s', '7s', '8s', '9s']"),
        ("safety.protected", "['']"),
        ("safety.protected", "['i-1,i-2']"),
        ("safety.protected", "['i 1']"),
        ("safety.protected", "['i-*-2']"),
        ("safety.protected", "['i-**']"),
        ("safety.protected_file", "'/no/such/file'"),
        ("log.level", "'inof'"),
        ("log.level", "'info,lapin=loud'"),
        ("trace.otlp_endpoint", "''"),
        ("trace.otlp_endpoint", "'127.0.0.1:4318'"),
        ("trace.otlp_endpoint", "'grpc://127.0.0.1:4317'"),
        ("trace.otlp_endpoint", "'http://'"),
        ("trace.otlp_endpoint", "'http://user:secret@collector:4318'"),
        ("trace.otlp_endpoint", "'http://collector:4318/v1/traces'"),
        ("trace.otlp_endpoint", "'http://collector:4318?token=secret'"),
        ("trace.otlp_endpoint", "'http://collector:4318 '"),
        ("accounts.vno.endpoint", "'https://host/path'"),
        ("accounts.vno.calls_per_second", "0.05"),
        ("accounts.vno.burst", "0"),
        ("accounts.vno.connect_timeout", "'0s'"),
        ("accounts.vno.call_timeout", "'0s'"),
        ("accounts.vno.error_classes", "{ '*' = 'gone' }"),
        ("accounts.vno.error_classes", "{ 'a*b' = 'gone' }"),
        ("accounts.vno.error_classes", "{ '' = 'gone' }"),
        ("broker.tls.ca_file", "'/no/such/file'"),
    ];
    for (setting, value) in cases {
        let found = broken(&format!("{setting} = {value}"));
        assert_eq!(found.len(), 1, "{setting} = {value}: {found:?}");
        assert!(found[0].starts_with(&format!("{setting} ")), "{setting} = {value}: {found:?}");
    }
}

#[test]
fn a_delivery_is_held_for_longer_than_a_call_and_for_less_than_the_broker_allows() {
    for (hold, call) in [("20s", "20s"), ("20s", "21s"), ("19m", "2m")] {
        let found = broken(&format!("worker.max_hold = '{hold}'\naccounts.vno.call_timeout = '{call}'"));
        assert!(found.len() == 1 && found[0].starts_with("worker.max_hold "), "{hold} {call}: {found:?}");
    }
    assert_eq!(broken("worker.max_hold = '21s'\naccounts.vno.call_timeout = '20s'"), [""; 0]);
}

#[test]
fn what_makes_sense_is_taken() {
    let cases = [
        "broker.url = 'amqp://guest:guest@localhost:5672/%2f'",
        "broker.url = 'amqps://[::1]/vhost?heartbeat=10'",
        "broker.url = 'sqlite:jobs.db'",
        "worker.linger = '0s'",
        "retry.steps = ['500ms']",
        "safety.protected = ['*', 'i-bp67acfmxazb4ph0000a', 'rm-*']",
        "log.level = 'bulkrelease=debug,lapin=warn'",
        "log.level = 'WARN,bulkrelease=trace'",
        "trace.otlp_endpoint = 'http://127.0.0.1:4318'",
        "trace.otlp_endpoint = 'https://otlp.example.com/tenant-7/'",
        "accounts.vno.endpoint = 'business.aliyuncs.com'",
        "accounts.vno.error_classes = { 'Busy.*' = 'transient', 'Gone.Away' = 'gone' }",
    ];
    for text in cases {
        assert_eq!(broken(text), [""; 0], "{text}");
    }
}

#[test]
fn a_certificate_and_its_key_come_together_and_only_over_tls() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display();
    let encrypted = "broker.url = 'amqps://host'";
    let found = broken(&format!("{encrypted}\nbroker.tls.key_file = '{path}'"));
    assert!(found.len() == 1 && found[0].starts_with("broker.tls.certificate_file is missing"), "{found:?}");
    let found = broken(&format!("{encrypted}\nbroker.tls.certificate_file = '{path}'"));
    assert!(found.len() == 1 && found[0].starts_with("broker.tls.key_file is missing"), "{found:?}");
    let found = broken(&format!("broker.url = 'amqp://host'\nbroker.tls.ca_file = '{path}'"));
    assert!(found.len() == 1 && found[0].contains("write amqps://"), "{found:?}");
    let both = format!("{encrypted}\nbroker.tls.key_file = '{path}'\nbroker.tls.certificate_file = '{path}'");
    assert_eq!(broken(&both), [""; 0]);
}
