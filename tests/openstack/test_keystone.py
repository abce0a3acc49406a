"""The Keystone of these tests is one: the client that its users have makes a project and a user, and gets a token."""

from tests.openstack.keystones import Keystone


def test_a_user_of_a_project_gets_a_token(keystone: Keystone) -> None:
    project = keystone.create("project", "plain")
    keystone.openstack("user", "create", "plain", "--password", "plain")
    keystone.openstack("role", "add", "--user", "plain", "--project", "plain", "member")
    own = keystone.as_user("plain", "plain")
    assert keystone.openstack("token", "issue", "-f", "value", "-c", "project_id", **own) == project
