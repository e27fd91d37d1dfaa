//! Ended spans on their way to the collector. Whoever ends one never waits: the queue is bounded, and what the collector does
//! not take is dropped, counted and spoken of. It must not know what a span is about.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::ops::Metrics;
use crate::ops::events::{SpansDropped, SpansDroppedLately, SpansExported};

/// Spans that wait, at most.
const MOST_WAITING: usize = 4096;

/// Spans that go out together, at most.
const MOST_AT_A_TIME: usize = 512;

/// How long the first of them waits for others.
const GATHERING: Duration = Duration::from_secs(1);

/// How often drops are spoken of.
const LATELY: Duration = Duration::from_secs(60);

/// The way out of all spans.
#[derive(Debug)]
pub(super) struct Export {
    queue: mpsc::Sender<Waiting>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug)]
enum Waiting {
    Span(Box<SpanData>),
    /// Told when everything before it is out, or dropped.
    Flush(oneshot::Sender<()>),
}

impl Export {
    /// Begins to export, in a task of its own. Every end of a span is to be told to the processor.
    pub fn start(exporter: impl SpanExporter + 'static, metrics: Arc<Metrics>) -> (Self, impl SpanProcessor + 'static) {
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        let ended = Ended { queue: queue.clone(), metrics: Arc::clone(&metrics) };
        let task = AbortOnDropHandle::new(tokio::spawn(export(exporter, waiting, metrics)));
        (Self { queue, _task: task }, ended)
    }

    /// Waits until the spans that have ended are out, until the deadline at most. Whether they are.
    pub async fn flush(&self, deadline: Instant) -> bool {
        let flushed = async {
            let (flush, flushed) = oneshot::channel();
            self.queue.send(Waiting::Flush(flush)).await.is_ok() && flushed.await.is_ok()
        };
        timeout_at(deadline, flushed).await.unwrap_or(false)
    }
}

/// Takes each span as it ends.
#[derive(Debug)]
struct Ended {
    queue: mpsc::Sender<Waiting>,
    metrics: Arc<Metrics>,
}

impl SpanProcessor for Ended {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if self.queue.try_send(Waiting::Span(Box::new(span))).is_err() {
            SpansDropped { spans: 1 }.emit(&self.metrics);
        }
    }

    /// `Export::flush` does.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Exports until nobody can end a span any more. The exporter bounds the time that a batch may take, repeats included.
async fn export(exporter: impl SpanExporter, mut waiting: mpsc::Receiver<Waiting>, metrics: Arc<Metrics>) {
    let mut said = Said { drops: 0, at: None, problem: None };
    while let Some(first) = waiting.recv().await {
        let (spans, flush) = gather(first, &mut waiting).await;
        let count = spans.len() as u64;
        if count > 0 {
            match exporter.export(spans).await {
                Ok(()) => SpansExported { spans: count }.emit(&metrics),
                Err(error) => {
                    SpansDropped { spans: count }.emit(&metrics);
                    said.problem = Some(error.to_string());
                }
            }
        }
        said.speak(metrics.spans_dropped.get(), flush.is_some());
        if let Some(flush) = flush {
            // Whoever asked may have gone meanwhile.
            flush.send(()).ok();
        }
    }
}

/// Spans that go out together, and who waits for that.
async fn gather(first: Waiting, waiting: &mut mpsc::Receiver<Waiting>) -> (Vec<SpanData>, Option<oneshot::Sender<()>>) {
    let until = Instant::now() + GATHERING;
    let mut spans = Vec::new();
    let mut next = Some(first);
    loop {
        match next {
            Some(Waiting::Span(span)) => spans.push(*span),
            Some(Waiting::Flush(flush)) => return (spans, Some(flush)),
            None => return (spans, None),
        }
        if spans.len() == MOST_AT_A_TIME {
            return (spans, None);
        }
        next = timeout_at(until, waiting.recv()).await.unwrap_or_default();
    }
}

/// What was last said of drops.
struct Said {
    drops: u64,
    at: Option<Instant>,
    /// Why the last batch that failed did.
    problem: Option<String>,
}

impl Said {
    fn speak(&mut self, drops: u64, now: bool) {
        let lately = self.at.is_some_and(|at| at.elapsed() < LATELY);
        if drops == self.drops || (lately && !now) {
            return;
        }
        let problem = self.problem.as_deref().unwrap_or("spans end faster than the collector takes them");
        SpansDroppedLately { spans: drops - self.drops, problem }.emit();
        *self = Self { drops, at: Some(Instant::now()), problem: None };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::error::OTelSdkError;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tokio::sync::Semaphore;

    use super::*;

    /// Takes a batch for each permit; then it hangs.
    #[derive(Debug, Clone)]
    struct Collector {
        permits: Arc<Semaphore>,
        works: bool,
        taken: Arc<Mutex<Vec<usize>>>,
    }

    impl Collector {
        fn new(permits: usize, works: bool) -> Self {
            Self { permits: Arc::new(Semaphore::new(permits)), works, taken: Arc::default() }
        }
    }

    impl SpanExporter for Collector {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.permits.acquire().await.expect("never closed").forget();
            self.taken.lock().unwrap().push(batch.len());
            if self.works { Ok(()) } else { Err(OTelSdkError::InternalFailure("it refuses".to_owned())) }
        }
    }

    struct Exporting {
        export: Export,
        provider: SdkTracerProvider,
        metrics: Arc<Metrics>,
    }

    impl Exporting {
        fn to(collector: &Collector) -> Self {
            let metrics = Arc::new(Metrics::new().unwrap());
            let (export, ended) = Export::start(collector.clone(), Arc::clone(&metrics));
            let provider = SdkTracerProvider::builder().with_span_processor(ended).build();
            Self { export, provider, metrics }
        }

        fn end_spans(&self, count: usize) {
            let tracer = self.provider.tracer("test");
            (0..count).for_each(|_| tracer.start("span").end());
        }

        async fn flush(&self, within: Duration) -> bool {
            self.export.flush(Instant::now() + within).await
        }
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn spans_go_out_together_and_a_flush_waits_for_all_of_them() {
        let collector = Collector::new(10, true);
        let exporting = Exporting::to(&collector);
        exporting.end_spans(MOST_AT_A_TIME + 7);
        assert!(exporting.flush(PATIENCE).await);
        assert_eq!(*collector.taken.lock().unwrap(), [MOST_AT_A_TIME, 7]);
        assert_eq!(exporting.metrics.spans_dropped.get(), 0);
    }

    #[tokio::test]
    async fn what_a_collector_refuses_is_dropped_and_counted() {
        let exporting = Exporting::to(&Collector::new(10, false));
        exporting.end_spans(3);
        assert!(exporting.flush(PATIENCE).await);
        assert_eq!(exporting.metrics.spans_dropped.get(), 3);
    }

    #[tokio::test]
    async fn a_collector_that_hangs_holds_nobody_up_and_the_queue_keeps_its_bound() {
        let collector = Collector::new(0, true);
        let exporting = Exporting::to(&collector);
        exporting.end_spans(MOST_WAITING + 5);
        assert_eq!(exporting.metrics.spans_dropped.get(), 5);
        assert!(!exporting.flush(Duration::from_millis(50)).await);
        // It comes back, and takes what waited.
        collector.permits.add_permits(100);
        assert!(exporting.flush(PATIENCE).await);
        assert_eq!(collector.taken.lock().unwrap().iter().sum::<usize>(), MOST_WAITING);
    }
}
