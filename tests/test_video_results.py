"""A video in, files out: frame by frame, in parts, with a run that is killed and goes on."""

import jax
import numpy as np
import pytest
from support import film_reader
from support.detected_person import SHAPE, touching_person
from support.tiny_model import save_tiny_weights

import dice_jax
from dice_jax import video_results
from dice_jax.errors import UserError
from dice_jax.io import params, video_writer, videos
from dice_jax.sequences.video_people import FramePeople

COUNT, FPS = 23, 10.0
ABSENT = (4, 5)  # frames without anybody


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return dice_jax.load(save_tiny_weights(tmp_path_factory.mktemp("weights") / "tiny"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    try:
        writer = video_writer.VideoWriter(path, SHAPE[::-1], FPS)
    except UserError as error:
        pytest.skip(str(error))
    for k in range(COUNT):
        frame = np.full((*SHAPE, 3), 40 + 4 * k, np.uint8)
        writer.write(frame, k / FPS)
    writer.close()
    return path


class Fake:
    """Finds the same person in every frame but the absent ones, and notes how it was called."""

    def __init__(self, stop_at=None, absent=ABSENT):
        self.stop_at, self.absent, self.times, self.previous = stop_at, absent, [], None

    def __call__(self, model, frames, *, smooth, previous, tracks, **options):
        self.previous = previous
        for time, pixels in frames:
            assert pixels.shape == (*SHAPE, 3)
            number = round(time * FPS)
            if number == self.stop_at:
                raise RuntimeError("killed")
            self.times.append(number)
            people = [] if number in self.absent else [touching_person()]
            yield FramePeople(tracks(people, time), people, False)


@pytest.fixture
def run(model, clip, monkeypatch, tmp_path):
    monkeypatch.setattr(video_results, "PART_SECONDS", 0.5)

    def run(fake, model=model, **options):
        monkeypatch.setattr(video_results, "reconstruct_video", fake)
        return video_results.process(model, clip, tmp_path / "x", **options)

    return run


def test_every_frame_is_in_the_film_and_in_the_arrays(run, tmp_path, clip):
    counted = []
    files = run(Fake(), progress=counted.append)
    assert (files.frames, files.expected, files.people) == (COUNT, COUNT, 1)
    assert sum(counted) == COUNT
    assert {path.name for path in files.paths} == {path.name for path in tmp_path.iterdir()}
    assert {path.name for path in files.paths} == {
        "x_overlay.mp4",
        "x_params.npz",
        "x_contact.csv",
    }
    drawn, source = (list(videos.read_frames(path)) for path in (tmp_path / "x_overlay.mp4", clip))
    assert len(drawn) == COUNT
    for before, after in zip(source, drawn):
        assert after.time == pytest.approx(before.time, abs=1e-3)
        # The corner shows the film, and where the head is, the film is covered.
        assert abs(before.pixels[:20, :20].mean() - after.pixels[:20, :20].mean()) < 3
        covered = np.abs(before.pixels.astype(int) - after.pixels).mean() > 2
        assert covered == (round(before.time * FPS) not in ABSENT)
    arrays = params.read_params(tmp_path / "x_params.npz")
    np.testing.assert_allclose(arrays["frame_time"], np.arange(COUNT) / FPS, atol=1e-3)
    poses = arrays["person_1_right_hand_hand_pose"]
    assert poses.shape == (COUNT, 45)
    absent = np.isnan(poses).all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(absent), ABSENT)
    expected = np.asarray(touching_person().hands[0].params.hand_pose)
    np.testing.assert_allclose(poses[~absent], np.tile(expected, (COUNT - 2, 1)), atol=1e-5)
    assert not [name for name in arrays if name.endswith(("vertices", "contact_probs"))]
    lines = (tmp_path / "x_contact.csv").read_text().splitlines()
    assert lines[0] == ",".join(video_results.CONTACT_COLUMNS)
    touches = [line for line in lines if "index fingertip,right cheek" in line]
    assert [line.split(",")[-2:] for line in touches] == [["0", "0.3"], ["0.6", "2.2"]]


def test_a_run_that_was_killed_goes_on_after_its_last_part(run, tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        run(Fake(stop_at=17))
    done = sorted(path.name for path in (tmp_path / "x_parts").glob("*.npz"))
    assert done == ["000000.npz", "000001.npz", "000002.npz"]
    assert not list((tmp_path / "x_parts").glob(".encoding*"))
    second = Fake()
    files = run(second)
    assert second.times == list(range(15, COUNT))
    (person,) = second.previous
    np.testing.assert_allclose(person.head.vertices, touching_person().head.vertices, atol=1e-6)
    assert files.frames == COUNT and not (tmp_path / "x_parts").exists()
    assert len(list(videos.read_frames(tmp_path / "x_overlay.mp4"))) == COUNT
    arrays = params.read_params(tmp_path / "x_params.npz")
    assert "person_1_head_betas" in arrays and "person_2_head_betas" not in arrays


def test_who_left_before_the_run_was_killed_keeps_the_number(run, tmp_path):
    """The person is gone for longer than a track lasts, and counts as somebody new then."""
    absent = range(3, 20)
    with pytest.raises(RuntimeError, match="killed"):
        run(Fake(stop_at=17, absent=absent))
    assert run(Fake(absent=absent)).people == 2
    arrays = params.read_params(tmp_path / "x_params.npz")
    for number, expected in ((1, range(3)), (2, range(20, COUNT))):
        there = np.isfinite(arrays[f"person_{number}_head_betas"]).all(axis=1)
        np.testing.assert_array_equal(np.flatnonzero(there), expected)


def test_parts_of_other_options_are_not_used_and_foreign_files_stay(run, tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        run(Fake(stop_at=8))
    (tmp_path / "x_parts" / "mine.txt").write_text("keep me")
    other = Fake()
    run(other, smooth="strong")
    assert other.times == list(range(COUNT))
    assert [path.name for path in (tmp_path / "x_parts").iterdir()] == ["mine.txt"]


def test_parts_of_other_weights_are_not_used(run, model):
    with pytest.raises(RuntimeError, match="killed"):
        run(Fake(stop_at=8))
    other, fake = model.replace(variables=jax.tree.map(lambda x: x + 1, model.variables)), Fake()
    run(fake, other)
    assert fake.times == list(range(COUNT))


def test_the_results_appear_together_or_not_at_all(run, tmp_path, monkeypatch):
    def full_disk(*arguments):
        raise OSError("full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
        patch.setattr(video_results.contact_table, "write_table", full_disk)
        run(Fake())
    assert [path.name for path in tmp_path.iterdir()] == ["x_parts"]
    again = Fake()
    assert len(run(again).paths) == 3 and again.times == []


def test_a_film_of_nobody_has_no_people(run, tmp_path, monkeypatch):
    def nobody(model, frames, *, smooth, previous, tracks, **options):
        for _ in frames:
            yield FramePeople([], [], False)

    files = run(nobody)
    assert files.people == 0
    assert len((tmp_path / "x_contact.csv").read_text().splitlines()) == 1


def test_the_rig_of_a_video_stands_where_the_person_is(run, tmp_path, monkeypatch):
    films = [run(Fake(absent=absent), rig=True).paths for absent in (range(COUNT), ABSENT)]
    assert [path.name for path in films[0]] == ["x_overlay.mp4", "x_params.npz", "x_contact.csv"]
    assert films[1][-1].name == "x_rig.glb"
    person = touching_person()
    for frame in (0, 10, COUNT - 1):
        glb = film_reader.at(tmp_path / "x_rig.glb", (frame + 0.01) / FPS)
        for name, vertices in (
            ("person_1_right_hand", person.hands[0].vertices),
            ("person_1_head", person.head.vertices),
        ):
            expected = (vertices + person.photo_camera.transl) * [1, -1, -1]
            np.testing.assert_allclose(glb.posed(name), expected, atol=1e-4)
    gone = film_reader.at(tmp_path / "x_rig.glb", (ABSENT[0] + 0.01) / FPS)
    assert np.ptp(gone.posed("person_1_head"), axis=0).max() < 1e-6


def test_episodes_join_what_pauses_for_less_than_a_fifth_of_a_second():
    key = (1, "right", "index fingertip", "left cheek")
    other = (1, "right", "palm", "chin")
    rows = [
        (*key, 0.6, 1.0),
        (*other, 0.9, 1.0),
        (*key, 0.8, 1.1),
        (*key, 0.7, 1.25),
        (*key, 0.5, 2.0),
    ]
    assert video_results.episodes(rows) == [
        (*key, 0.8, 1.0, 1.25),
        (*other, 0.9, 1.0, 1.0),
        (*key, 0.5, 2.0, 2.0),
    ]


def test_work_in_the_background_is_bounded_in_order_and_raises_in_its_place():
    made = []

    def items():
        for number in range(100):
            made.append(number)
            if number == 50:
                raise ValueError("at 50")
            yield number

    taken = []
    with pytest.raises(ValueError, match="at 50"):
        for number in video_results.in_background(items()):
            taken.append(number)
            assert len(made) <= number + 8
    assert taken == list(range(50))
    early = video_results.in_background(iter(range(10**9)))
    assert next(early) == 0
    early.close()  # ends the thread
