import numpy as np
import pytest

from lada.allocators.networks import block_means, fit, hidden_state, new_network, predict

HAND = {
    "w1": np.array([[1.0, -2.0], [0.5, 1.0]], np.float32),
    "b1": np.array([0.0, 1.0], np.float32),
    "w2": np.array([3.0, -1.0], np.float32),
    "b2": np.array(0.5, np.float32),
}


def flat(weights) -> np.ndarray:
    return np.concatenate([np.asarray(weights[name], np.float64).ravel() for name in ("w1", "b1", "w2", "b2")])


def test_prediction_by_hand():
    # x = (2, 0): W1 x + b1 = (2, 2), all above 0: 3·2 − 2 + 0.5 = 4.5.
    # x = (0, 1): (−2, 2) -> (0, 2): −2 + 0.5 = −1.5.
    inputs = np.array([[2.0, 0.0], [0.0, 1.0]], np.float32)
    assert hidden_state(HAND, inputs).tolist() == [[2.0, 2.0], [0.0, 2.0]]
    assert predict(HAND, inputs).tolist() == [4.5, -1.5]


def test_pool_takes_means_of_blocks():
    vectors = np.array([[1, 2, 3, 4, 5, 6, 10], [0, 0, 3, 1, 1, 1, -2]], np.float32)
    assert block_means(vectors, 3).tolist() == [[2, 5, 10], [1, 1, -2]]
    assert block_means(vectors, 1).tolist() == vectors.tolist()
    assert block_means(vectors, 50)[:, 0].tolist() == pytest.approx([31 / 7, 4 / 7])


def slow_adam(weights, inputs: np.ndarray, targets: np.ndarray, steps: int, rate: float) -> np.ndarray:
    """Adam on the mean squared error, in float64, its gradient by central differences."""
    width = len(weights["b1"])

    def loss(theta: np.ndarray) -> float:
        w1, rest = theta[: width * inputs.shape[1]].reshape(width, -1), theta[width * inputs.shape[1] :]
        b1, w2, b2 = rest[:width], rest[width : 2 * width], rest[-1]
        errors = [w2 @ np.maximum(w1 @ x + b1, 0) + b2 - y for x, y in zip(inputs, targets, strict=True)]
        return sum(error**2 for error in errors) / len(errors)

    theta, m, v = flat(weights), 0.0, 0.0
    for step in range(1, steps + 1):
        nudges = 1e-6 * np.eye(len(theta))
        slope = np.array([(loss(theta + nudge) - loss(theta - nudge)) / 2e-6 for nudge in nudges])
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        theta = theta - rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return theta


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_fit_is_full_batch_adam_on_the_squared_error(steps: int):
    inputs, targets = np.array([[2.0, 0.3], [0.0, 1.0], [-1.0, 0.2]]), np.array([1.0, -1.0, 0.5])
    fitted = fit(HAND, inputs, targets, epochs=steps, learning_rate=0.05)
    np.testing.assert_allclose(flat(fitted), slow_adam(HAND, inputs, targets, steps, 0.05), rtol=1e-4, atol=1e-5)


def test_the_first_update_by_hand():
    # One unit, x = 2: h = 2, prediction 2, error 2. All gradients are positive (8, 4, 8, 4), and Adam's first step is
    # the learning rate against the sign.
    one = {"w1": [[1.0]], "b1": [0.0], "w2": [1.0], "b2": 0.0}
    weights = {name: np.array(value, np.float32) for name, value in one.items()}
    fitted = fit(weights, np.array([[2.0]]), np.array([0.0]), epochs=1, learning_rate=0.1)
    assert flat(fitted).tolist() == pytest.approx([0.9, -0.1, 0.9, -0.1], abs=1e-6)
    assert fitted["b2"].shape == ()


def test_fit_leaves_what_it_was_given():
    inputs, targets = np.ones((2, 2), np.float32), np.zeros(2)
    for array in (*HAND.values(), inputs, targets):
        array.flags.writeable = False
    before = flat(HAND)
    assert not np.array_equal(flat(fit(HAND, inputs, targets, epochs=2, learning_rate=0.1)), before)
    assert np.array_equal(flat(HAND), before)


def test_a_new_network_has_an_address():
    a, b = new_network(3, 400, 1, "exploit"), new_network(3, 400, 1, "explore")
    assert np.array_equal(flat(a), flat(new_network(3, 400, 1, "exploit")))
    assert not np.array_equal(a["w1"], b["w1"])
    assert {name: (array.shape, array.dtype) for name, array in a.items()} == {
        "w1": ((400, 3), np.float32),
        "b1": ((400,), np.float32),
        "w2": ((400,), np.float32),
        "b2": ((), np.float32),
    }
    # Variance 1 / fan-in: 1/3 and 1/400.
    assert a["w1"].var() == pytest.approx(1 / 3, rel=0.2)
    assert a["w2"].var() == pytest.approx(1 / 400, rel=0.2)
    assert not a["b1"].any()
    assert a["b2"] == 0
