# One machine with minirun on it, in a network of its own. Nothing can be reached from outside unless a range is
# given; without one, `aws ssm start-session` is the way in.

data "aws_availability_zones" "here" {
  state = "available"
}

# Debian's own images: https://wiki.debian.org/Cloud/AmazonEC2Image
data "aws_ami" "debian" {
  most_recent = true
  owners      = ["136693071363"]

  filter {
    name   = "name"
    values = ["debian-12-${var.architecture}-*"]
  }

  filter {
    name   = "virtualization-type"
    values = ["hvm"]
  }
}

# The network: one public subnet, and a way out.

resource "aws_vpc" "this" {
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

# What is in no other group may neither be reached nor reach anything.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.this.id
}

resource "aws_subnet" "public" {
  vpc_id                  = aws_vpc.this.id
  cidr_block              = cidrsubnet(var.cidr, 8, 0)
  availability_zone       = data.aws_availability_zones.here.names[0]
  map_public_ip_on_launch = false # the machine has the elastic address
  tags                    = { Name = "${var.name}-public" }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = var.name }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-public" }

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this.id
  }
}

resource "aws_route_table_association" "public" {
  subnet_id      = aws_subnet.public.id
  route_table_id = aws_route_table.public.id
}

# Who may come in, and where it may go.

resource "aws_security_group" "this" {
  name_prefix = "${var.name}-"
  description = "minirun: closed but for the ranges that were given"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = var.name }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each = toset(var.ssh_ranges)

  security_group_id = aws_security_group.this.id
  description       = "SSH"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
}

resource "aws_vpc_security_group_ingress_rule" "api" {
  for_each = toset(var.api_ranges)

  security_group_id = aws_security_group.this.id
  description       = "minirun-api over HTTPS"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 8443
  to_port           = 8443
}

# HTTPS for the archive and for Session Manager, HTTP for Debian's packages; the address that gives the time and the
# one that gives names are the network's own, which no group holds back.
resource "aws_vpc_security_group_egress_rule" "web" {
  for_each = toset(["80", "443"])

  security_group_id = aws_security_group.this.id
  description       = "Packages, the archive, Session Manager"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.value)
  to_port           = tonumber(each.value)
}

# What the machine may do in the account: be reached by Session Manager, and nothing else.

data "aws_iam_policy_document" "is_a_machine" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_partition" "here" {}

resource "aws_iam_role" "this" {
  name_prefix        = "${var.name}-"
  description        = "The machine that minirun runs on"
  assume_role_policy = data.aws_iam_policy_document.is_a_machine.json
}

resource "aws_iam_role_policy_attachment" "session_manager" {
  role       = aws_iam_role.this.name
  policy_arn = "arn:${data.aws_partition.here.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "this" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.this.name
}

resource "aws_key_pair" "this" {
  count = var.public_key == null ? 0 : 1

  key_name_prefix = "${var.name}-"
  public_key      = var.public_key
}

# The machine.

resource "aws_instance" "this" {
  ami                    = data.aws_ami.debian.id
  instance_type          = var.instance_type
  subnet_id              = aws_subnet.public.id
  vpc_security_group_ids = [aws_security_group.this.id]
  iam_instance_profile   = aws_iam_instance_profile.this.name
  key_name               = one(aws_key_pair.this[*].key_name)

  # It holds no secret: certificate and tokens are made on the machine.
  user_data = templatefile("${path.module}/cloud-init.yaml.tftpl", {
    release_url    = var.release_url
    release_sha256 = var.release_sha256
    architecture   = var.architecture
    region         = var.region
    address        = aws_eip.this.public_ip
  })

  # Version 2 of the metadata service alone, and not from inside a container's own network: one hop.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  root_block_device {
    volume_type           = "gp3"
    volume_size           = var.disk_gib
    encrypted             = true
    kms_key_id            = var.kms_key_id
    delete_on_termination = true
    tags                  = { Name = var.name }
  }

  tags = { Name = var.name }

  lifecycle {
    # A newer image or release is no reason to lose the containers: `minirun-bootstrap URL SHA256` updates.
    ignore_changes = [ami, user_data]
  }
}

# Made before the machine, which is told its address.
resource "aws_eip" "this" {
  domain     = "vpc"
  tags       = { Name = var.name }
  depends_on = [aws_internet_gateway.this]
}

resource "aws_eip_association" "this" {
  instance_id   = aws_instance.this.id
  allocation_id = aws_eip.this.id
}
