# The other ways to write a network: adopted defaults, attachments on their own, options, interfaces, a private NAT gateway.
resource "aws_vpc" "this" {
  cidr_block           = "10.50.0.0/16"
  enable_dns_hostnames = var.changed
  tags                 = var.changed ? { Name = "variants", Changed = "yes" } : { Name = "variants" }
}

resource "aws_subnet" "this" {
  for_each                = { a = 0, b = 1 }
  vpc_id                  = aws_vpc.this.id
  availability_zone       = "us-east-1${each.key}"
  cidr_block              = "10.50.${each.value}.0/24"
  map_public_ip_on_launch = var.changed
  tags                    = { Name = each.key }
}

resource "aws_internet_gateway" "this" {}

resource "aws_internet_gateway_attachment" "this" {
  internet_gateway_id = aws_internet_gateway.this.id
  vpc_id              = aws_vpc.this.id
}

resource "aws_default_route_table" "this" {
  default_route_table_id = aws_vpc.this.default_route_table_id
  tags                   = { Name = "default" }

  route {
    cidr_block = var.changed ? "192.0.2.0/24" : "0.0.0.0/0"
    gateway_id = aws_internet_gateway_attachment.this.internet_gateway_id
  }
}

resource "aws_route_table" "second" {
  vpc_id = aws_vpc.this.id
}

# In the other VPC: the provider's documentation warns of it next to aws_default_route_table.
resource "aws_main_route_table_association" "second" {
  vpc_id         = aws_vpc.second.id
  route_table_id = aws_route_table.main.id
}

resource "aws_route_table" "main" {
  vpc_id = aws_vpc.second.id
}

resource "aws_route_table_association" "this" {
  subnet_id      = aws_subnet.this["a"].id
  route_table_id = var.changed ? aws_route_table.second.id : aws_default_route_table.this.id
}

resource "aws_vpc_dhcp_options" "this" {
  domain_name         = "variants.test"
  domain_name_servers = ["AmazonProvidedDNS"]
  tags                = { Name = "variants" }
}

resource "aws_vpc_dhcp_options_association" "this" {
  vpc_id          = aws_vpc.this.id
  dhcp_options_id = aws_vpc_dhcp_options.this.id
}

resource "aws_security_group" "self" {
  name   = "self"
  vpc_id = aws_vpc.this.id

  ingress {
    protocol  = "tcp"
    from_port = 0
    to_port   = 65535
    self      = true
  }

  ingress {
    protocol    = "udp"
    from_port   = 53
    to_port     = 53
    cidr_blocks = var.changed ? ["10.50.0.0/16", "10.60.0.0/16"] : ["10.50.0.0/16"]
  }

  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }

  tags = { Name = "self" }
}

resource "aws_security_group" "other" {
  name   = "other"
  vpc_id = aws_vpc.this.id
}

resource "aws_security_group_rule" "other" {
  for_each                 = { in = "ingress", out = "egress" }
  security_group_id        = aws_security_group.other.id
  type                     = each.value
  protocol                 = "tcp"
  from_port                = 443
  to_port                  = 443
  source_security_group_id = aws_security_group.self.id
  description              = var.changed ? "after" : "before"
}

resource "aws_vpc_security_group_ingress_rule" "other" {
  security_group_id = aws_security_group.other.id
  cidr_ipv4         = "10.0.0.0/8"
  ip_protocol       = "tcp"
  from_port         = var.changed ? 8000 : 9000
  to_port           = 9000
  tags              = { Name = "rule" }
}

resource "aws_network_acl" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "variants" }
}

resource "aws_network_acl_rule" "this" {
  for_each       = { in = false, out = true }
  network_acl_id = aws_network_acl.this.id
  egress         = each.value
  rule_number    = 100
  protocol       = "tcp"
  rule_action    = var.changed ? "deny" : "allow"
  cidr_block     = "0.0.0.0/0"
  from_port      = 1
  to_port        = 1024
}

resource "aws_network_acl_association" "this" {
  network_acl_id = aws_network_acl.this.id
  subnet_id      = aws_subnet.this["b"].id
}

resource "aws_network_interface" "this" {
  subnet_id         = aws_subnet.this["a"].id
  private_ips       = ["10.50.0.50"]
  security_groups   = var.changed ? [aws_security_group.other.id] : [aws_security_group.self.id]
  source_dest_check = !var.changed
  description       = "variants"
}

resource "aws_eip" "this" {
  domain                    = "vpc"
  network_interface         = aws_network_interface.this.id
  associate_with_private_ip = "10.50.0.50"
  depends_on                = [aws_internet_gateway_attachment.this]
}

resource "aws_eip" "loose" {
  domain = "vpc"
}

resource "aws_eip_association" "loose" {
  allocation_id        = aws_eip.loose.id
  network_interface_id = aws_network_interface.second.id
  depends_on           = [aws_internet_gateway_attachment.this]
}

resource "aws_network_interface" "second" {
  subnet_id = aws_subnet.this["b"].id
}

resource "aws_nat_gateway" "private" {
  connectivity_type = "private"
  subnet_id         = aws_subnet.this["b"].id
}

data "aws_vpc" "this" {
  id = aws_vpc.this.id
}

data "aws_subnets" "this" {
  filter {
    name   = "vpc-id"
    values = [aws_vpc.this.id]
  }
  depends_on = [aws_subnet.this]
}

data "aws_subnet" "this" {
  id = aws_subnet.this["a"].id
}

data "aws_security_group" "this" {
  name   = aws_security_group.self.name
  vpc_id = aws_vpc.this.id
}

data "aws_route_table" "this" {
  route_table_id = aws_route_table.second.id
}

data "aws_internet_gateway" "this" {
  internet_gateway_id = aws_internet_gateway_attachment.this.internet_gateway_id
}

data "aws_network_interface" "this" {
  id = aws_network_interface.this.id
}

data "aws_network_acls" "this" {
  vpc_id = aws_vpc.this.id
}

data "aws_regions" "this" {}

data "aws_region" "this" {}

data "aws_availability_zone" "this" {
  name = "us-east-1a"
}
