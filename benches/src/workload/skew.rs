//! Which of n things the next transaction picks: a hot one, or one by Zipf's law.

use rand::{Rng, rngs::StdRng};

/// Picks an index: the hot share goes to 0, the rest is Zipf-distributed over all.
#[derive(Clone, Debug)]
pub struct Skew {
    hot: f64,
    cumulative: Vec<f64>,
}

impl Skew {
    /// A choice among `count` things.
    ///
    /// # Panics
    ///
    /// If there is nothing to choose from.
    pub fn new(count: usize, hot: f64, exponent: f64) -> Self {
        assert!(count > 0, "nothing to choose from");
        let mut sum = 0.0;
        let cumulative = (1..=count)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        Self { hot: hot.clamp(0.0, 1.0), cumulative }
    }

    /// The next choice.
    pub fn pick(&self, rng: &mut StdRng) -> usize {
        if rng.random_bool(self.hot) {
            return 0;
        }
        let last = self.cumulative.len() - 1;
        let point = rng.random::<f64>() * self.cumulative[last];
        self.cumulative.partition_point(|sum| *sum <= point).min(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn hot_share_and_zipf_are_as_asked() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut shares = |skew: Skew| {
            let mut counts = [0_u32; 10];
            (0..20_000).for_each(|_| counts[skew.pick(&mut rng)] += 1);
            counts.iter().map(|count| f64::from(*count) / 20_000.0).collect::<Vec<_>>()
        };
        let uniform = shares(Skew::new(10, 0.0, 0.0));
        assert!(uniform.iter().all(|share| (share - 0.1).abs() < 0.02), "{uniform:?}");
        let hot = shares(Skew::new(10, 0.5, 0.0));
        assert!((hot[0] - 0.55).abs() < 0.02, "{hot:?}");
        let zipf = shares(Skew::new(10, 0.0, 1.0));
        assert!((zipf[0] / zipf[1] - 2.0).abs() < 0.2, "{zipf:?}");
    }
}
