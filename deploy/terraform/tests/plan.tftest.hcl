# What a plan is, with a provider that only pretends: `terraform test`. No account is needed.

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1a", "eu-central-1b"] }
  }

  mock_data "aws_ami" {
    defaults = { id = "ami-0123456789abcdef0" }
  }

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_resource "aws_eip" {
    defaults = { public_ip = "198.51.100.7" }
  }
}

variables {
  release_url    = "https://example.org/minirun-0.1.0-x86_64-unknown-linux-gnu.tar.gz"
  release_sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}

run "nothing_can_be_reached_unless_a_range_is_given" {
  command = apply

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.ssh) == 0
    error_message = "SSH is open."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.api) == 0
    error_message = "The API is open."
  }

  assert {
    condition     = length(aws_key_pair.this) == 0
    error_message = "There is a key pair that nobody asked for."
  }

  assert {
    condition     = output.ssh == null && output.api == null
    error_message = "It says that something can be reached."
  }

  assert {
    condition     = !strcontains(yamldecode(aws_instance.this.user_data).write_files[0].content, "0.0.0.0")
    error_message = "The server is told to listen everywhere."
  }
}

run "the_metadata_service_wants_a_session_and_the_disk_is_encrypted" {
  command = apply

  assert {
    condition     = aws_instance.this.metadata_options[0].http_tokens == "required"
    error_message = "Version 1 of the metadata service answers."
  }

  assert {
    condition     = aws_instance.this.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "The metadata service can be reached over a hop."
  }

  assert {
    condition     = aws_instance.this.root_block_device[0].encrypted
    error_message = "The disk is not encrypted."
  }
}

run "what_is_given_is_open_and_nothing_else" {
  command = apply

  variables {
    public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA test"
    ssh_ranges = ["203.0.113.7/32"]
    api_ranges = ["203.0.113.0/24", "198.51.100.0/24"]
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.ssh : rule.cidr_ipv4] == ["203.0.113.7/32"]
    error_message = "SSH is open to others."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.api : rule.from_port == 8443 && rule.to_port == 8443])
    error_message = "More than the API's port is open."
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.api) == 2 && length(aws_key_pair.this) == 1
    error_message = "Not all that was given is there."
  }

  assert {
    condition     = output.api == "https://198.51.100.7:8443" && output.ssh == "ssh admin@198.51.100.7"
    error_message = "It does not say where."
  }
}

run "user_data_installs_what_has_the_checksum" {
  command = apply

  assert {
    condition     = startswith(aws_instance.this.user_data, "#cloud-config\n") && can(yamldecode(aws_instance.this.user_data))
    error_message = "It is no cloud-config."
  }

  assert {
    condition     = strcontains(aws_instance.this.user_data, var.release_sha256) && strcontains(aws_instance.this.user_data, "sha256sum --check")
    error_message = "The archive is not checked."
  }

  assert {
    condition     = !can(regex("(?i)password *[:=] *[^ \n]|private key", aws_instance.this.user_data))
    error_message = "There is a secret in it."
  }
}

run "ssh_for_everybody_is_refused" {
  command = plan

  variables {
    ssh_ranges = ["0.0.0.0/0"]
  }

  expect_failures = [var.ssh_ranges]
}

run "what_is_no_range_is_refused" {
  command = plan

  variables {
    api_ranges = ["203.0.113.7"]
  }

  expect_failures = [var.api_ranges]
}

run "an_archive_over_plain_http_is_refused" {
  command = plan

  variables {
    release_url = "http://example.org/minirun.tar.gz"
  }

  expect_failures = [var.release_url]
}

run "a_checksum_that_is_none_is_refused" {
  command = plan

  variables {
    release_sha256 = "none"
  }

  expect_failures = [var.release_sha256]
}
