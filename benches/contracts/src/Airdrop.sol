// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// What the airdrop needs of its token.
interface IDroppedToken {
    function transfer(address to, uint256 value) external returns (bool);
}

/// Gives a token away to everybody in a Merkle tree, once. Who has claimed is a bit in a word of 256.
contract Airdrop {
    IDroppedToken public token;
    bytes32 public root;
    uint256 public claimed;
    mapping(uint256 word => uint256) public claimedBits;

    event Claimed(uint256 indexed index, address indexed account, uint256 amount);

    error AlreadyClaimed(uint256 index);
    error NotInTree(uint256 index);
    error TransferFailed();

    constructor(IDroppedToken token_, bytes32 root_) {
        (token, root) = (token_, root_);
    }

    /// `proof` has the other child at each level, from the leaves up.
    function claim(uint256 index, address account, uint256 amount, bytes32[] calldata proof) external {
        uint256 bit = 1 << (index & 0xff);
        uint256 bits = claimedBits[index >> 8];
        if (bits & bit != 0) revert AlreadyClaimed(index);
        bytes32 node = keccak256(abi.encode(index, account, amount));
        uint256 path = index;
        for (uint256 level = 0; level < proof.length; ++level) {
            node = path & 1 == 0
                ? keccak256(abi.encode(node, proof[level]))
                : keccak256(abi.encode(proof[level], node));
            path >>= 1;
        }
        if (node != root) revert NotInTree(index);
        claimedBits[index >> 8] = bits | bit;
        claimed += amount;
        if (!token.transfer(account, amount)) revert TransferFailed();
        emit Claimed(index, account, amount);
    }
}
