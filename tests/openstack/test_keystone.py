"""The Keystone of these tests is one: the client that its users have makes a project and a user, and gets a token."""

from tests.openstack.keystones import Keystone


def test_a_user_of_a_project_gets_a_token(keystone: Keystone) -> None:
    project = keystone.openstack("project", "create", "plain", "-f", "value", "-c", "id")
    keystone.openstack("user", "create", "plain", "--password", "plain")
    keystone.openstack("role", "add", "--user", "plain", "--project", "plain", "member")
    own = {
        "OS_AUTH_URL": keystone.url, "OS_USERNAME": "plain", "OS_PASSWORD": "plain", "OS_PROJECT_NAME": "plain",
        "OS_USER_DOMAIN_ID": "default", "OS_PROJECT_DOMAIN_ID": "default",
    }  # fmt: skip
    assert keystone.openstack("token", "issue", "-f", "value", "-c", "project_id", **own) == project
