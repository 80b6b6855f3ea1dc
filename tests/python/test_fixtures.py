"""The fixtures do what conftest.py says: start, answer, stop, and come back on the same port."""


def test_redis_answers_on_a_port_of_its_own(redis_server):
    assert redis_server.port != 6379
    assert redis_server.client().ping()


def test_nowthen_answers_and_ends_when_asked(nowthen):
    assert nowthen.client().ping()
    assert nowthen.stop() == 0
    assert not nowthen.answers()


def test_nowthen_comes_back_after_kill_and_after_restart(nowthen):
    nowthen.kill()
    assert not nowthen.answers()
    nowthen.start()
    nowthen.restart()
    assert nowthen.client().ping()
