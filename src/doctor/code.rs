//! Every kind of finding: its stable name, how bad it is, and why it matters. One line of reason for each; what is found and
//! what mends it depends on the case.

/// How bad a finding is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Jobs, results or dead letters go lost. A worker doesn't start.
    LosesData,
    /// Work stops, or will.
    WillFail,
    /// It works, at a price.
    Wasteful,
    /// Good to know.
    Note,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LosesData => "loses-data",
            Self::WillFail => "will-fail",
            Self::Wasteful => "wasteful",
            Self::Note => "note",
        }
    }
}

macro_rules! codes {
    ($($code:ident $name:literal $severity:ident $why:literal)*) => {
        /// A kind of finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($code,)*
        }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// The name that scripts may rely on.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }

            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$code => Severity::$severity,)*
                }
            }

            /// Why it matters, in a sentence.
            pub fn why(self) -> &'static str {
                match self {
                    $(Self::$code => $why,)*
                }
            }
        }
    };
}

codes! {
    SettingInvalid "setting-invalid" WillFail
        "No command starts with settings that break a rule."
    PrefetchBelowBatch "prefetch-below-batch" Wasteful
        "A call carries up to 100 ids; from jobs of one id each no batch gets larger than the prefetch, so the quota buys less."
    HeartbeatUnsuitable "heartbeat-unsuitable" Wasteful
        "Below 5 s a busy moment passes for a lost connection; above 60 s a dead worker's deliveries stay held for minutes."

    NoEndpoint "no-endpoint" WillFail
        "Nothing is released anywhere that was not named, so no worker starts."
    EndpointUnreachable "endpoint-unreachable" WillFail
        "No call gets through: the account's circuit opens and its jobs wait."
    EndpointNotTheApi "endpoint-not-the-api" WillFail
        "Whatever answers there is not the API, so no call can succeed."
    EndpointNotEncrypted "endpoint-not-encrypted" WillFail
        "Anyone on the way can read the ids and a temporary key's token, and can answer in the API's place."
    ClockOff "clock-off" WillFail
        "NotAfter and the ages of jobs are judged by this clock, and from 15 minutes on the API refuses every request."
    ClockRefused "clock-refused" WillFail
        "The API takes requests of the last and next 15 minutes only: every call is refused."
    CredentialMissing "credential-missing" WillFail
        "No call can be signed: the account's circuit opens and its jobs wait."
    CredentialRefused "credential-refused" WillFail
        "The API doesn't accept the access key, so it will refuse every release."
    CredentialNotRefreshed "credential-not-refreshed" Note
        "A temporary key that stands in the environment or a file ends within hours, and nobody replaces it."
    AccountRefused "account-refused" WillFail
        "The API refuses the account itself, so it will refuse every release."
    ReadBackNotPermitted "read-back-not-permitted" Wasteful
        "Without the query every id that a lost call may have released costs a call of its own."

    BrokerNotNamed "broker-not-named" WillFail
        "Nobody takes jobs from a queue that was not named."
    BrokerUnreachable "broker-unreachable" WillFail
        "No job arrives and no result leaves."
    BrokerLoginRefused "broker-login-refused" WillFail
        "No job arrives and no result leaves."
    VersionTooOld "version-too-old" LosesData
        "Before 3.10 RabbitMQ has no dead-lettering that waits for its target: what goes through a retry queue can go lost."
    NotSetUp "not-set-up" Note
        "A worker declares what is missing at its start, because broker.declare is true."
    EntityMissing "entity-missing" WillFail
        "broker.declare is false, so a worker only looks, finds nothing, and does not consume."
    QueueDiffers "queue-differs" WillFail
        "A worker with broker.declare = true refuses to work with a queue that is not what it would declare."
    ExchangeDiffers "exchange-differs" WillFail
        "A worker with broker.declare = true refuses to work with an exchange that is not what it would declare."
    QueueUnavailable "queue-unavailable" WillFail
        "The queue exists and does not answer, so its messages neither come nor go."
    QueueTypeDiffers "queue-type-differs" WillFail
        "A worker refuses to declare a queue that exists with another type; a classic queue also ends with its node."
    RetryQueueClassic "retry-queue-classic" LosesData
        "Only quorum queues keep a message until its target has taken it: a classic retry queue can lose what it sends back."
    QueueNotDurable "queue-not-durable" LosesData
        "It ends with the broker's next restart, and its messages with it."
    DeliveryLimitWearsOut "delivery-limit-wears-out" LosesData
        "Each look, crash or lost connection counts as a delivery, and beyond the limit the broker drops the message."
    DeliveryLimitDestroys "delivery-limit-destroys" LosesData
        "Before 4.0 RabbitMQ takes a negative limit for none left and destroys every message at its first return."
    JobsDeliveryLimitLow "jobs-delivery-limit-low" WillFail
        "The broker gives a job up before the worker does, so it ends as a dead letter without a result or a reason."
    OverflowDrops "overflow-drops" LosesData
        "Without x-overflow = reject-publish the broker falls back to at-most-once dead-lettering, and drops what is in excess."
    DeadLetterStrategyDrops "dead-letter-strategy-drops" LosesData
        "At-most-once dead-lettering drops a message whenever its target can't take it at that moment."
    DeadLetterExchangeDiffers "dead-letter-exchange-differs" LosesData
        "What leaves this queue by itself goes somewhere else, or nowhere."
    MessagesExpire "messages-expire" LosesData
        "Messages that nobody has taken in time are gone: a worker that stands still for that long loses them."
    QueueExpires "queue-expires" LosesData
        "The broker deletes the queue, with what is in it, when nobody has used it for that long."
    LengthLimitDrops "length-limit-drops" LosesData
        "Beyond the limit the broker drops the oldest message for each new one."
    LengthLimitBlocks "length-limit-blocks" Wasteful
        "Beyond the limit the broker refuses messages, and whoever sends them stands still."
    RetryDelayDiffers "retry-delay-differs" Wasteful
        "What waits there comes back at another time than retry.steps says: too early, and it spends calls in vain."
    RetryNeverReturns "retry-never-returns" WillFail
        "Nothing ever leaves a retry queue that has no message TTL: its jobs wait for ever."
    SingleActiveConsumer "single-active-consumer" Wasteful
        "One worker gets every job, and the others none."
    AlternateExchangeMissing "alternate-exchange-missing" LosesData
        "What no queue takes is confirmed and dropped instead of being kept in release.unrouted."
    BindingMissing "binding-missing" WillFail
        "What is published there ends in release.unrouted, where nobody looks for it."
    RightMissing "right-missing" WillFail
        "The broker closes the channel of whoever lacks a right, so the work stops at that point, again and again."
    BeaconsNotPermitted "beacons-not-permitted" Wasteful
        "Whoever hears no beacons can't share the quota and takes half of it: one such worker wastes the rest, three exceed it."
    BrokerAlarm "broker-alarm" WillFail
        "While an alarm is on the broker takes no messages: no result is confirmed, so no job is finished."
    ConsumerTimeoutTooShort "consumer-timeout-too-short" WillFail
        "The broker takes a delivery back that is held for so long, and closes the channel: work is done twice."
    NodeDown "node-down" WillFail
        "The next node that stops may take the majority, and every quorum queue with it."
    ClusterPartitioned "cluster-partitioned" LosesData
        "The parts go on without each other, and when they meet one of them drops what it took meanwhile."
    QueueWithoutLeader "queue-without-leader" WillFail
        "A quorum queue without a leader takes and gives nothing."
    QueueMemberOffline "queue-member-offline" WillFail
        "The queue has fewer copies than it should: the next loss may stop it."
    QueueNotReplicated "queue-not-replicated" WillFail
        "The queue lives on fewer nodes than the cluster could give it, and stands still with the first of them."
    DeadLettersWait "dead-letters-wait" Note
        "What was given up on waits for a person."
    UnroutedMessages "unrouted-messages" WillFail
        "Results or letters found no queue: a binding is or was missing, and whoever waits for them waits in vain."
    NoWorkerConsumes "no-worker-consumes" Note
        "Jobs wait and no worker takes them."

    FileUnusable "file-unusable" WillFail
        "No job arrives and no result leaves."
    FileVersionDiffers "file-version-differs" WillFail
        "This program does not read a file of another schema, so no worker starts."
    FileNotWal "file-not-wal" WillFail
        "Without the write-ahead log the processes that share the file lock each other out."
    DiskNearlyFull "disk-nearly-full" WillFail
        "When the disk is full no result can be stored, so no job is finished."
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own_and_a_reason_that_is_a_sentence() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{code:?}");
            assert!(code.why().ends_with('.'), "{code:?}");
        }
    }
}
