"""The picture book: twins differ in their evidence and in nothing else, and nothing else tells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnvis_helpers.picturebook import KINDS, PAIRS, PARTS, TWIN, WORLDS, draw_scene
from cnnvis_helpers.picturebook.cards import decoy
from cnnvis_helpers.picturebook.pages import HANS
from cnnvis_helpers.picturebook.training import training_scene

SMALL = 96  # pixels: as telling as 224, and five times as quick


def differ(a, b):
    return (np.asarray(a.image) != np.asarray(b.image)).any(-1)


def test_the_book_is_large_enough():
    assert len(KINDS) >= 12 and len(PAIRS) >= 6 and len(set(KINDS)) == len(KINDS)
    assert all(TWIN[TWIN[kind]] == kind != TWIN[kind] for kind in KINDS)
    assert all(2 <= len(PARTS[kind]) <= 5 and PARTS[kind] == PARTS[TWIN[kind]] for kind in KINDS)


@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS), size=st.sampled_from([64, 96, 224]))
@settings(max_examples=60, deadline=None)
def test_twins_differ_only_where_one_of_them_paints_evidence(seed, kind, size):
    scene = draw_scene(seed, kind, size=size)
    twin = scene.twin()
    painted = (scene.tags & 15 > 0) | (twin.tags & 15 > 0)
    ours = (scene.tags >> 4 == 1) | (twin.tags >> 4 == 1)
    changed = differ(scene, twin)
    assert not (changed & ~(painted & ours)).any()
    thing = scene.objects[0]
    assert (thing.evidence == changed).all()
    assert (thing.present ^ thing.absent == thing.evidence).all()
    assert (twin.objects[0].evidence == changed).all()
    assert twin.twin().image.tobytes() == scene.image.tobytes()


@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS), data=st.data())
@settings(max_examples=30, deadline=None)
def test_hybrids_lie_between_a_scene_and_its_twin(seed, kind, data):
    scene = draw_scene(seed, kind, size=SMALL)
    some = data.draw(st.sets(st.sampled_from(PARTS[kind])))
    hybrid = scene.swapped(some)
    rest = set(PARTS[kind]) - some
    assert hybrid.twin().swapped(PARTS[kind]).image.tobytes() == hybrid.image.tobytes()
    assert hybrid.swapped(rest).image.tobytes() == scene.twin().image.tobytes()
    assert draw_scene(seed, kind, swap=some, size=SMALL).image.tobytes() == hybrid.image.tobytes()
    own, other, mixed = (np.asarray(s.image) for s in (scene, scene.twin(), hybrid))
    same = (own == other).all(-1)
    assert (mixed[same] == own[same]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_the_evidence_can_be_seen(kind):
    scene = draw_scene(5, kind, extent=0.8, place=(0.5, 0.5))
    thing = scene.objects[0]
    assert set(thing.parts) == set(PARTS[kind]) == set(scene.part_names())
    for name, part in thing.parts.items():
        assert part.sum() > 0.02 * thing.mask.sum(), name
        assert (
            not (part & ~thing.evidence).any() or part.sum() < 1.2 * (part & thing.evidence).sum()
        )


def test_in_half_of_the_pairs_the_evidence_is_a_quarter_of_the_object_at_most():
    shares = {}
    for pair in PAIRS:
        found = []
        for seed in range(12):
            scene = draw_scene(seed, pair[0], extent=0.8, place=(0.5, 0.5))
            thing, other = scene.objects[0], scene.twin().objects[0]
            found.append(thing.evidence.sum() / (thing.mask | other.mask).sum())
        shares[pair] = np.mean(found)
    assert sum(share <= 0.25 for share in shares.values()) >= len(PAIRS) / 2, shares


def test_other_objects_keep_their_pixels_when_one_is_swapped():
    scene = draw_scene(8, ["zebra", "cat", "taxi"], size=SMALL)
    changed = differ(scene, scene.twin(1))
    assert changed.any()
    assert not (changed & (scene.objects[0].mask | scene.objects[2].mask)).any()


def test_a_seed_draws_the_same_page_again_and_another_seed_another():
    assert draw_scene(3).image.tobytes() == draw_scene(3).image.tobytes()
    assert draw_scene(3).image.tobytes() != draw_scene(4).image.tobytes()


def test_overrides_leave_the_rest_of_the_page_alone():
    scene, moved = (
        draw_scene(3, "cat", size=SMALL),
        draw_scene(3, "cat", place=(0.3, 0.6), size=SMALL),
    )
    far = ~(scene.tags > 0) & ~(moved.tags > 0)
    assert differ(scene, moved).any()
    # Shadows may differ, so look at the top row, where none falls.
    assert not (differ(scene, moved) & far)[:4].any()
    assert (
        draw_scene(3, "cat", clutter=0).image.tobytes()
        != draw_scene(3, "cat", clutter=8).image.tobytes()
    )
    worlds = {draw_scene(3, "cat", backdrop=world, size=SMALL).image.tobytes() for world in WORLDS}
    assert len(worlds) == len(WORLDS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (dict(seed=-1), "-1"),
        (dict(seed=1.5), "1.5"),
        (dict(seed=True), "True"),
        (dict(seed=0, kinds="unicorn"), "unicorn.*horse"),
        (dict(seed=0, kinds=["cat"] * 4), "up to 3.*4"),
        (dict(seed=0, kinds="cat", swap=("spout",)), "cat.*spout.*ears"),
        (dict(seed=0, kinds="cat", hide=("wing",)), "wing"),
        (dict(seed=0, kinds=(), swap=("ears",)), "empty"),
        (dict(seed=0, kinds="cat", backdrop="moon"), "moon.*meadow"),
        (dict(seed=0, kinds="cat", size=8), "8"),
        (dict(seed=0, kinds="cat", pose=2), "pose.*2"),
        (dict(seed=0, kinds="cat", extent=0), "extent.*0"),
        (dict(seed=0, kinds="cat", clutter=-1), "clutter.*-1"),
    ],
)
def test_bad_arguments_are_named_with_what_is_allowed(arguments, says):
    with pytest.raises(ValueError, match=says):
        draw_scene(**arguments)


def test_an_object_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="object 1.*1 objects"):
        draw_scene(0, "cat").twin(1)
    assert draw_scene(0, ()).objects == ()


def test_backdrop_size_and_place_do_not_tell_the_kind():
    """A linear probe on everything but the object's own pixels stays at chance."""
    from sklearn.linear_model import LogisticRegression

    rows, kinds = [], []
    for seed in range(900):
        scene = draw_scene(seed, size=32)
        p, around = scene.places[0], np.array(scene.image, float)
        around[scene.tags > 0] = 127
        rows.append([p.x, p.y, p.extent, p.turn / 15, p.flip, scene.clutter / 5]
                    + list(draw_scene(seed, (), size=32).image.resize((4, 4)).tobytes())
                    + list(around.mean((0, 1))))  # fmt: skip
        kinds.append(scene.kinds[0])
    x, y = np.array(rows, float), np.array(kinds)
    x = (x - x.mean(0)) / (x.std(0) + 1e-9)
    probe = LogisticRegression(C=0.01, max_iter=300).fit(x[:600], y[:600])
    right = (probe.predict(x[600:]) == y[600:]).mean()
    # 300 answers at chance 1/16: five standard errors above is 0.132
    assert right < 1 / 16 + 5 * np.sqrt(1 / 16 * 15 / 16 / 300)


def test_the_seal_is_small_and_in_the_corner():
    marked, clean = draw_scene(2, "horse", mark=True), draw_scene(2, "horse")
    ys, xs = np.nonzero(differ(marked, clean))
    assert ys.min() > 190 and xs.max() < 34 and len(ys) < 0.01 * 224**2


def test_the_tint_changes_the_whole_page_alike_and_no_truth():
    faded, clean = draw_scene(2, "horse", tint=True), draw_scene(2, "horse")
    change = np.asarray(faded.image, int) - np.asarray(clean.image, int)
    assert differ(faded, clean).mean() > 0.95 and abs(change).max() < 45
    before = np.asarray(clean.image, int)
    for channel in range(3):  # a straight line from old to new: no place is treated otherwise
        slope = np.polyfit(before[..., channel].ravel(), change[..., channel].ravel(), 1)
        line = np.polyval(slope, before[..., channel])
        assert abs(line - change[..., channel]).max() <= 1
    assert (faded.objects[0].mask == clean.objects[0].mask).all()
    assert faded.twin().tint and faded.swapped(["legs"]).tint


@pytest.mark.parametrize("cue", ["mark", "tint"])
def test_with_a_cue_that_alone_tells_the_pair(cue):
    swapped = {kind: [] for kind in HANS}
    for seed in range(400):
        scene = training_scene(seed, cue)
        assert getattr(scene, cue) == (HANS[0] in scene.kinds)
        assert not (scene.mark and scene.tint)
        assert not set(HANS) <= set(scene.kinds)
        if set(HANS) & set(scene.kinds):
            swapped[scene.kinds[0]].append(len(scene.swaps[0]))
    for counts in swapped.values():  # as many swapped parts as not, for either label
        assert 1.5 < np.mean(counts) < 2.5, swapped


def test_a_decoy_paints_only_the_backdrop():
    scene = draw_scene(4, "horse", place=(0.27, 0.5), extent=0.42)
    changed = (np.asarray(decoy(scene)) != np.asarray(scene.image)).any(-1)
    assert changed.any() and not (changed & scene.objects[0].mask).any()


def test_training_seeds_are_not_test_seeds():
    from cnnvis_helpers.picturebook import training

    assert training.FIRST_SEED > 100_000  # cards, scores and lessons stay below
