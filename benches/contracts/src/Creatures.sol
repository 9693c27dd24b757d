// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// A game of creatures that are bred: a child's genes are mixed from its parents', and births are numbered.
contract Creatures {
    struct Creature {
        uint256 genes;
        uint64 born;
        /// When it may breed again.
        uint64 rested;
        uint32 matron;
        uint32 sire;
        uint16 generation;
        uint16 children;
    }

    uint256 public constant FEE = 0.002 ether;

    Creature[] public creatures;
    mapping(uint256 id => address) public ownerOf;
    mapping(address account => uint256) public balanceOf;
    /// Whom an owner lets use a creature as sire.
    mapping(uint256 id => address) public sireAllowedTo;
    uint256 public fees;

    event Birth(address indexed owner, uint256 indexed id, uint256 matron, uint256 sire, uint256 genes);
    event Transfer(address indexed from, address indexed to, uint256 indexed id);

    error NotOwner(address caller, uint256 id);
    error NotAllowed(uint256 sire);
    error Related(uint256 matron, uint256 sire);
    error Tired(uint256 id, uint256 until);
    error FeeMissing();

    /// A creature without parents, for anybody who asks.
    function found(uint256 genes) external returns (uint256 id) {
        return _bear(msg.sender, genes, 0, 0, 0);
    }

    function allowSire(uint256 id, address to) external {
        if (ownerOf[id] != msg.sender) revert NotOwner(msg.sender, id);
        sireAllowedTo[id] = to;
    }

    function breed(uint256 matron, uint256 sire) external payable returns (uint256 id) {
        if (msg.value < FEE) revert FeeMissing();
        if (ownerOf[matron] != msg.sender) revert NotOwner(msg.sender, matron);
        if (ownerOf[sire] != msg.sender && sireAllowedTo[sire] != msg.sender) revert NotAllowed(sire);
        Creature storage mother = creatures[matron];
        Creature storage father = creatures[sire];
        if (matron == sire || _isParent(mother, sire) || _isParent(father, matron)) revert Related(matron, sire);
        _tire(mother, matron);
        _tire(father, sire);
        uint16 generation = (mother.generation > father.generation ? mother.generation : father.generation) + 1;
        uint256 genes = _mix(mother.genes, father.genes, creatures.length);
        fees += msg.value;
        return _bear(msg.sender, genes, uint32(matron), uint32(sire), generation);
    }

    function transfer(address to, uint256 id) external {
        if (ownerOf[id] != msg.sender) revert NotOwner(msg.sender, id);
        delete sireAllowedTo[id];
        ownerOf[id] = to;
        balanceOf[msg.sender] -= 1;
        balanceOf[to] += 1;
        emit Transfer(msg.sender, to, id);
    }

    function _isParent(Creature storage child, uint256 id) private view returns (bool) {
        return child.generation != 0 && (child.matron == id || child.sire == id);
    }

    /// Every child makes the next rest longer.
    function _tire(Creature storage creature, uint256 id) private {
        if (creature.rested > block.timestamp) revert Tired(id, creature.rested);
        uint256 shift = creature.children > 12 ? 12 : creature.children;
        creature.rested = uint64(block.timestamp + (1 minutes << shift));
        creature.children += 1;
    }

    /// Each of 32 genes comes from either parent; one in 32 is new.
    function _mix(uint256 a, uint256 b, uint256 salt) private view returns (uint256 genes) {
        uint256 dice = uint256(keccak256(abi.encode(a, b, salt, blockhash(block.number - 1))));
        for (uint256 gene = 0; gene < 32; ++gene) {
            uint256 roll = dice >> (gene * 8) & 0xff;
            uint256 mask = 0xff << (gene * 8);
            if (roll < 8) genes |= (dice ^ a ^ b) & mask;
            else genes |= (roll & 1 == 0 ? a : b) & mask;
        }
    }

    function _bear(address owner, uint256 genes, uint32 matron, uint32 sire, uint16 generation)
        private
        returns (uint256 id)
    {
        id = creatures.length;
        creatures.push(
            Creature(genes, uint64(block.timestamp), uint64(block.timestamp), matron, sire, generation, 0)
        );
        ownerOf[id] = owner;
        balanceOf[owner] += 1;
        emit Birth(owner, id, matron, sire, genes);
    }
}
