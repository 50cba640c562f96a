# Every VPC resource that the provider has for the operations of this region: both families.
resource "aws_vpc" "this" {
  cidr_block                       = "10.70.0.0/16"
  assign_generated_ipv6_cidr_block = true
  enable_dns_hostnames             = true
  tags                             = { Name = "dual" }
}

resource "aws_vpc" "peer" {
  cidr_block = "10.71.0.0/16"
  tags       = { Name = "peer" }

  # The block comes by a resource of its own.
  lifecycle {
    ignore_changes = [assign_generated_ipv6_cidr_block]
  }
}

resource "aws_vpc_ipv4_cidr_block_association" "this" {
  vpc_id     = aws_vpc.this.id
  cidr_block = "100.64.0.0/16"
}

resource "aws_vpc_ipv6_cidr_block_association" "peer" {
  vpc_id                           = aws_vpc.peer.id
  assign_generated_ipv6_cidr_block = true
}

resource "aws_subnet" "this" {
  for_each                        = { a = 0, b = 1 }
  vpc_id                          = aws_vpc.this.id
  availability_zone               = "us-east-1${each.key}"
  cidr_block                      = "10.70.${each.value}.0/24"
  ipv6_cidr_block                 = cidrsubnet(aws_vpc.this.ipv6_cidr_block, 8, each.value)
  assign_ipv6_address_on_creation = var.changed
  tags                            = { Name = each.key }
}

resource "aws_subnet" "secondary" {
  vpc_id            = aws_vpc_ipv4_cidr_block_association.this.vpc_id
  availability_zone = "us-east-1c"
  cidr_block        = "100.64.1.0/24"
}

resource "aws_ec2_subnet_cidr_reservation" "this" {
  cidr_block       = "10.70.0.128/28"
  reservation_type = "prefix"
  subnet_id        = aws_subnet.this["a"].id
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_egress_only_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = var.changed ? "out" : "egress" }
}

resource "aws_ec2_managed_prefix_list" "offices" {
  name           = "offices"
  address_family = "IPv4"
  max_entries    = 5
  tags           = { Name = "offices" }

  entry {
    cidr        = "192.0.2.0/25"
    description = "north"
  }

  dynamic "entry" {
    for_each = var.changed ? ["198.51.100.0/24"] : []
    content {
      cidr = entry.value
    }
  }
}

resource "aws_ec2_managed_prefix_list" "six" {
  name           = "six"
  address_family = "IPv6"
  max_entries    = 2
}

resource "aws_ec2_managed_prefix_list_entry" "six" {
  prefix_list_id = aws_ec2_managed_prefix_list.six.id
  cidr           = "2001:db8:ffff::/48"
  description    = "alone"
}

resource "aws_vpc_peering_connection" "this" {
  vpc_id      = aws_vpc.this.id
  peer_vpc_id = aws_vpc.peer.id
  auto_accept = true
  tags        = { Name = var.changed ? "pair-changed" : "pair" }
}

resource "aws_vpc_peering_connection_options" "this" {
  vpc_peering_connection_id = aws_vpc_peering_connection.this.id

  requester {
    allow_remote_vpc_dns_resolution = var.changed
  }
}

resource "aws_route_table" "this" {
  vpc_id = aws_vpc.this.id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this.id
  }

  route {
    ipv6_cidr_block        = "::/0"
    egress_only_gateway_id = aws_egress_only_internet_gateway.this.id
  }

  route {
    cidr_block                = aws_vpc.peer.cidr_block
    vpc_peering_connection_id = aws_vpc_peering_connection.this.id
  }

  dynamic "route" {
    for_each = var.changed ? [] : [1]
    content {
      destination_prefix_list_id = aws_ec2_managed_prefix_list.offices.id
      gateway_id                 = aws_internet_gateway.this.id
    }
  }
}

resource "aws_route_table_association" "this" {
  for_each       = aws_subnet.this
  subnet_id      = each.value.id
  route_table_id = aws_route_table.this.id
}

resource "aws_route_table" "peer" {
  vpc_id = aws_vpc.peer.id
}

resource "aws_route" "peer" {
  route_table_id            = aws_route_table.peer.id
  destination_cidr_block    = "10.70.0.0/16"
  vpc_peering_connection_id = aws_vpc_peering_connection.this.id
}

resource "aws_route" "peer_six" {
  route_table_id              = aws_route_table.peer.id
  destination_ipv6_cidr_block = aws_vpc.this.ipv6_cidr_block
  vpc_peering_connection_id   = aws_vpc_peering_connection.this.id
}

resource "aws_route" "list" {
  route_table_id             = aws_route_table.peer.id
  destination_prefix_list_id = aws_ec2_managed_prefix_list.six.id
  vpc_peering_connection_id  = aws_vpc_peering_connection.this.id
}

resource "aws_network_acl" "this" {
  vpc_id     = aws_vpc.this.id
  subnet_ids = [aws_subnet.secondary.id]

  ingress {
    rule_no    = 100
    protocol   = "tcp"
    action     = "allow"
    cidr_block = "0.0.0.0/0"
    from_port  = 443
    to_port    = 443
  }

  ingress {
    rule_no         = 110
    protocol        = "58"
    action          = var.changed ? "deny" : "allow"
    ipv6_cidr_block = "::/0"
    icmp_type       = -1
    icmp_code       = -1
    from_port       = 0
    to_port         = 0
  }

  egress {
    rule_no         = 100
    protocol        = "-1"
    action          = "allow"
    ipv6_cidr_block = "::/0"
    from_port       = 0
    to_port         = 0
  }
}

resource "aws_default_network_acl" "peer" {
  default_network_acl_id = aws_vpc.peer.default_network_acl_id
  # A list that is still as AWS made it gets rule 101 with the block (fact ACL-3): adopted before, it would drift.
  depends_on = [aws_vpc_ipv6_cidr_block_association.peer]

  ingress {
    rule_no    = 100
    protocol   = "-1"
    action     = "allow"
    cidr_block = "0.0.0.0/0"
    from_port  = 0
    to_port    = 0
  }
}

resource "aws_default_security_group" "peer" {
  vpc_id     = aws_vpc.peer.id
  depends_on = [aws_vpc_ipv6_cidr_block_association.peer]

  ingress {
    protocol  = "-1"
    from_port = 0
    to_port   = 0
    self      = true
  }
}

resource "aws_default_vpc" "this" {
  tags = { Name = "default" }
}

resource "aws_default_subnet" "this" {
  availability_zone = "us-east-1a"
  tags              = { Name = "default" }
  depends_on        = [aws_default_vpc.this]
}

# Without tags: this provider forgets to set them when it adopts the options.
resource "aws_default_vpc_dhcp_options" "this" {}
