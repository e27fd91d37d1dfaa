//! How long an answer takes: always the same, or spread as the answers of real services are, most near the median and a few
//! far above it. Pure: the draw is the caller's.

use std::time::Duration;

use fastrand::Rng;

use super::settings::InvalidSettings;

/// How many standard deviations above the median of a normal distribution 99 % of it end.
const NORMAL_P99: f64 = 2.326_347_874;

/// A stretch never grows beyond this multiple of the 99th percentile: a rehearsal must end.
const LONGEST: f64 = 10.0;

/// The time of one answer: `median`, or a draw from the log-normal distribution through `median` and `p99`.
pub(super) fn draw(median: Duration, p99: Option<Duration>, draws: &mut Rng) -> Duration {
    let Some(p99) = p99 else { return median };
    let (median, p99) = (median.as_secs_f64(), p99.as_secs_f64());
    let sigma = (p99 / median).ln() / NORMAL_P99;
    // Box and Muller: two even draws make a normal one. The first must not be 0.
    let normal = (-2.0 * (1.0 - draws.f64()).ln()).sqrt() * (std::f64::consts::TAU * draws.f64()).cos();
    Duration::from_secs_f64((median * (sigma * normal).exp()).min(p99 * LONGEST))
}

pub(super) fn check(setting: &str, median: Duration, p99: Option<Duration>) -> Result<(), InvalidSettings> {
    match p99 {
        Some(p99) if median.is_zero() || p99 < median => Err(InvalidSettings::new(
            setting,
            "must not be below latency, which must not be 0: raise one, or remove it",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_answers_come_before_the_median_and_one_in_a_hundred_after_the_99th_percentile() {
        let (median, p99) = (Duration::from_millis(20), Duration::from_millis(200));
        let mut draws = Rng::with_seed(1);
        let times: Vec<_> = (0..100_000).map(|_| draw(median, Some(p99), &mut draws)).collect();
        let above = |limit| times.iter().filter(|time| **time > limit).count();
        assert!((49_000..51_000).contains(&above(median)), "{}", above(median));
        assert!((900..1_100).contains(&above(p99)), "{}", above(p99));
        assert_eq!(draw(median, None, &mut draws), median);
    }

    #[test]
    fn a_distribution_that_can_not_be_is_refused() {
        let at = Duration::from_millis;
        assert!(check("p", at(20), Some(at(20))).is_ok() && check("p", at(0), None).is_ok());
        assert!(check("p", at(20), Some(at(19))).is_err() && check("p", at(0), Some(at(1))).is_err());
    }
}
